import numpy as np
import pytest
from scipy.stats import spearmanr

from defocus.errors import DefocusError
from defocus.evaluation import metrics


def brute_force_average_precision(score, truth):
    """AP by walking down the distinct scores in plain Python."""
    total, previous = 0.0, 0.0
    for level in sorted(set(score.tolist()), reverse=True):
        called = [t for s, t in zip(score.tolist(), truth.tolist(), strict=True) if s >= level]
        recall = sum(called) / truth.sum()
        total += (recall - previous) * sum(called) / len(called)
        previous = recall
    return total


@pytest.mark.parametrize("levels", [3, 10, 10_000], ids=["many ties", "some ties", "no ties"])
def test_average_precision_equals_brute_force(levels):
    rng = np.random.default_rng(levels)
    truth = rng.random(300) < 0.4
    score = rng.integers(0, levels, 300) + 0.3 * levels * truth.round()
    # Both sum the same few hundred fractions, in another order.
    expected = brute_force_average_precision(score, truth)
    assert metrics.average_precision(score, truth) == pytest.approx(expected, abs=1e-12)


def test_average_precision_by_hand():
    # Highest score blurred (P 1), then a tie of one blurred and one sharp (P 2/3 at R 1).
    assert metrics.average_precision([4, 3, 3, 1], [1, 1, 0, 0]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_average_precision_sees_only_the_order():
    rng = np.random.default_rng(0)
    score, truth = rng.random((20, 30)), rng.random((20, 30)) < 0.5
    assert metrics.average_precision(np.exp(5 * score), truth) == metrics.average_precision(score, truth)


def test_a_perfect_map_scores_one_and_a_turned_map_does_not():
    truth = np.zeros((10, 10), dtype=bool)
    truth[:, 6:] = True
    sigma = np.where(truth, 1.8, 0.6)
    assert metrics.average_precision(sigma, truth) == 1
    assert metrics.max_f(sigma, truth) == 1
    assert metrics.accuracy_at_alpha(sigma, truth) == 1
    assert metrics.f_at_threshold(sigma, truth, 1.0) == 1
    # Turned round, every metric must show it rather than repair it.
    assert metrics.average_precision(-sigma, truth) < 0.5
    assert metrics.accuracy_at_alpha(-sigma, truth) == 0


def test_precision_recall_counts_like_a_loop():
    rng = np.random.default_rng(3)
    score, truth, valid = rng.normal(size=(12, 9)), rng.random((12, 9)) < 0.3, rng.random((12, 9)) < 0.8
    curve = metrics.precision_recall(score, truth, valid, thresholds=17)
    s, t = score[valid], truth[valid]
    s = (s - s.min()) / (s.max() - s.min())
    for level, precision, recall in zip(curve.thresholds, curve.precision, curve.recall, strict=True):
        called = s >= level
        assert precision == (called & t).sum() / called.sum()
        assert recall == (called & t).sum() / t.sum()
    assert curve.recall[0] == 1
    assert curve.thresholds[-1] == 1


def test_ignored_pixels_change_nothing():
    rng = np.random.default_rng(4)
    score, truth = rng.random((8, 8)), rng.random((8, 8)) < 0.5
    valid = np.ones((8, 8), dtype=bool)
    valid[:3] = False
    spoilt = np.where(valid, score, np.nan)
    for metric in (metrics.average_precision, metrics.max_f, metrics.accuracy_at_alpha):
        assert metric(spoilt, truth, valid) == metric(score[3:], truth[3:])
    error = metrics.mean_absolute_error(spoilt, truth, valid)
    assert error == metrics.mean_absolute_error(score[3:], truth[3:])


def test_a_constant_map_says_all_blurred():
    truth = np.zeros(10, dtype=bool)
    truth[:4] = True
    for value in (0.1, 1.7):
        constant = np.full(10, value)
        assert metrics.average_precision(constant, truth) == pytest.approx(0.4)
        assert metrics.accuracy_at_alpha(constant, truth) == 0.4
        assert metrics.max_f(constant, truth) == pytest.approx(1.3 * 0.4 / (0.3 * 0.4 + 1))
        assert metrics.spearman(constant, np.arange(10)) == 0


@pytest.mark.parametrize("truth", [np.zeros(5, bool), np.ones(5, bool)], ids=["sharp", "blurred"])
def test_truth_of_one_class_is_refused_where_it_cannot_rank(truth):
    for metric in (metrics.average_precision, metrics.max_f, metrics.precision_recall):
        with pytest.raises(metrics.UndefinedMetricError, match="only"):
            metric(np.arange(5), truth)
    # Accuracy is defined: threshold 0.3 * 4 = 1.2 calls 2, 3, 4 blurred.
    assert metrics.accuracy_at_alpha(np.arange(5), truth) == (0.6 if truth.all() else 0.4)


def test_unusable_inputs_say_why():
    ones = np.ones((3, 3))
    with pytest.raises(metrics.UndefinedMetricError, match="No pixel is valid"):
        metrics.mean_absolute_error(ones, ones, np.zeros((3, 3), bool))
    with pytest.raises(DefocusError, match="one shape"):
        metrics.mean_absolute_error(ones, np.ones((3, 4)))
    with pytest.raises(metrics.UndefinedMetricError, match="NaN"):
        metrics.average_precision([1, np.nan, 2], [1, 0, 1])
    with pytest.raises(metrics.UndefinedMetricError, match="constant truth"):
        metrics.spearman(np.arange(9).reshape(3, 3), ones)
    with pytest.raises(metrics.UndefinedMetricError, match="above 0"):
        metrics.relative_error(ones, 0 * ones)


def test_accuracy_at_alpha_follows_its_rule():
    # tau = 0.3 * 10 + 0.7 * 0 = 3: the map's 3 counts as blurred, 2 does not.
    assert metrics.accuracy_at_alpha([0, 2, 3, 10], [0, 0, 1, 1]) == 1
    assert metrics.accuracy_at_alpha([0, 2, 3, 10], [0, 1, 0, 1]) == 0.5


def test_f_at_threshold_is_not_normalised():
    truth = np.array([0, 0, 1, 1], bool)
    f = metrics.f_at_threshold([0.5, 0.9, 1.0, 2.0], truth, [0.0, 0.95, 1.5, 3.0])
    # All blurred: P 1/2, R 1. Then perfect. Then P 1, R 1/2. Then nothing called.
    assert f == pytest.approx([1.3 * 0.5 / 1.15, 1, 1.3 * 0.5 / 0.8, 0])


def test_leave_one_out_never_looks_at_its_own_image():
    table = np.array([[1.0, 0.0, 0.0], [0.0, 0.9, 0.1], [0.0, 0.8, 0.2]])
    chosen, f = metrics.leave_one_out(table)
    assert chosen[0] == 1 and f[0] == 0
    changed = table.copy()
    changed[0] = [0, 0, 1]
    assert metrics.leave_one_out(changed)[0][0] == 1
    # Equals: the middle of the plateau.
    assert metrics.leave_one_out([[0, 1, 1, 1, 0], [0, 1, 1, 1, 0]])[0].tolist() == [2, 2]
    with pytest.raises(metrics.UndefinedMetricError, match="two images"):
        metrics.leave_one_out([[1.0, 2.0]])


def test_errors_in_px():
    truth, estimate = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.5, 1.5, 1.5, 3.0])
    assert metrics.mean_absolute_error(estimate, truth) == 0.625
    assert metrics.relative_error(estimate, truth) == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    bins = metrics.error_by_size(estimate, truth, [0, 1.5, 3, 3.5])
    assert [b.pixels for b in bins] == [2, 1, 0]
    assert bins[0].mean_absolute_error == 0.5 and bins[1].bias == -0.5
    assert np.isnan(bins[2].bias)


def test_spearman_equals_scipy_with_ties():
    rng = np.random.default_rng(5)
    a = rng.integers(0, 6, 200)
    b = a + rng.integers(0, 6, 200)
    # The same formula, up to rounding.
    assert metrics.spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_affine_error_forgives_scale_and_offset_only():
    rng = np.random.default_rng(6)
    truth = rng.random(500)
    fit = metrics.affine_invariant_error(3 * truth - 7, truth)
    assert fit.root_mean_square_error < 1e-12  # rounding only
    assert (fit.scale, fit.offset) == pytest.approx((1 / 3, 7 / 3))
    assert metrics.affine_invariant_error(-truth, truth).scale == pytest.approx(-1)
    noisy = truth + rng.normal(0, 0.3, 500)
    line = np.polyfit(noisy, truth, 1)
    rest = np.polyval(line, noisy) - truth
    fit = metrics.affine_invariant_error(noisy, truth)
    assert fit.root_mean_square_error == pytest.approx(np.sqrt(np.mean(rest**2)))
    assert fit.mean_absolute_error == pytest.approx(np.abs(rest).mean())
    constant = metrics.affine_invariant_error(np.full(500, 2.0), truth)
    assert constant.root_mean_square_error == pytest.approx(truth.std())


def test_calibration_of_honest_and_boasting_confidences():
    rng = np.random.default_rng(7)
    confidence = rng.random(200_000)
    honest = metrics.calibration(confidence, rng.random(200_000) < confidence)
    # 20,000 samples a bin: the share's standard error is 0.0035, and the mean of ten |errors| stays well
    # below 0.01.
    assert honest.expected_error < 0.01
    assert honest.pixels.sum() == 200_000
    boasting = metrics.calibration(np.ones(1000), np.arange(1000) < 250)
    assert boasting.expected_error == 0.75
    assert boasting.pixels.tolist() == [0] * 9 + [1000]
    with pytest.raises(metrics.UndefinedMetricError, match=r"0\.\.1"):
        metrics.calibration([1.2], [True])


def test_bootstrap_interval():
    rng = np.random.default_rng(8)
    values = rng.normal(10, 2, 400)
    low, high = metrics.bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    # At 400 values the normal interval is nearly right; 10,000 draws leave about 2 % noise on its width.
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert metrics.bootstrap_interval(values) == (low, high)
    assert metrics.bootstrap_interval(values, seed=1) != (low, high)
    assert metrics.bootstrap_interval([3, 3, 3]) == (3, 3)
    with pytest.raises(metrics.UndefinedMetricError, match="two images"):
        metrics.bootstrap_interval([1.0])


def test_sure_and_wrong_counts_boasts_only():
    estimate = np.array([[1.0, 1.0, 1.0, 1.0, 1.0]])
    truth = np.array([[1.4, 1.5, 0.72, 0.7, 4.0]])
    sure = np.full(truth.shape, 0.5)
    # Half an octave is a factor of 1.414 either way.
    assert metrics.sure_and_wrong(estimate, truth, sure) == (0.6, 1.0)
    assert metrics.sure_and_wrong(estimate, truth, sure - 0.01) == (0.0, 0.0)
    assert metrics.sure_and_wrong(estimate, truth, sure, valid=truth < 1.5) == (1 / 3, 1.0)
    # What nobody can know counts although it is not valid, and whatever its truth says.
    frame = np.array([[True, False, False, False, False]])
    assert metrics.sure_and_wrong(estimate, estimate, sure, ~frame, frame) == (0.2, 1.0)
    with pytest.raises(DefocusError, match="No pixel is valid"):
        metrics.sure_and_wrong(estimate, truth, sure, truth < 0)


def test_gross_errors_are_above_a_pixel_and_above_the_truth():
    truth = np.array([0.0, 0.5, 0.5, 3.0, 3.0])
    assert metrics.grossly_wrong([1.0, 1.5, 1.6, 5.9, 6.1], truth) == 0.4
    assert metrics.grossly_wrong([0.0, 0.0, 0.0, 0.0, 0.0], truth) == 0.0


def test_the_error_of_the_surest_by_hand():
    truth, confidence = np.zeros(8), np.array([0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.1, 0.0])
    estimate = np.array([1.0, 3.0, 0.0, 0.0, 4.0, 4.0, 8.0, 20.0])
    errors = metrics.error_by_coverage(estimate, truth, confidence, (0.25, 0.5, 0.75, 1.0))
    # Of the four of confidence 0.5, whose mean error is 2, two fill up the half.
    np.testing.assert_allclose(errors, [2, (4 + 4) / 4, (4 + 8) / 6, 40 / 8])
    order = np.random.default_rng(0).permutation(8)
    again = metrics.error_by_coverage(estimate[order], truth, confidence[order], (0.25, 0.5, 0.75, 1.0))
    np.testing.assert_allclose(again, errors)
    one = metrics.error_by_coverage(estimate, truth, confidence, (1.0,), confidence > 0)
    np.testing.assert_allclose(one, 20 / 7)
