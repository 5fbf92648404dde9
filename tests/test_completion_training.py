"""Training of the completion of the pyramid method: what it learns from, and that the weights are what was trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import defocus
from defocus.errors import DefocusError
from defocus.evaluation.datasets import Example
from defocus.methods import find_method
from defocus.methods.pyramid.blur_reader import BlurReader
from defocus.methods.pyramid.completion_weights import CHANNELS
from defocus.methods.pyramid.weights import PyramidWeights
from defocus.training.pyramid.colour.recipe import ColourSceneRecipe
from defocus.training.pyramid.colour.scenes import KNOWN, NEVER, UNKNOWN, render_colour_scene
from defocus.training.pyramid.completion.samples import Sample, Samples, example_sample, save_scene_samples, stacked
from defocus.training.pyramid.sources import Source, load_sources, read_colour_source, save_sources
from defocus.training.trainer import TrainingOptions

torch = pytest.importorskip("torch", reason="training needs the extra `train` (PyTorch)")
pytest.importorskip("sklearn")

from defocus.training.pyramid.completion import fitting  # noqa: E402
from defocus.training.pyramid.completion.network import CompletionNetwork  # noqa: E402

SMALL = fitting.CompletionTraining(scenes=4, steps=6, batch=2)
UNCHANGED = replace(SMALL, dropped=0, dimmed=0, grey=0, noise=0, octave_shift=0)


@pytest.fixture(scope="module")
def sources():
    return [Source(data.coffee(), np.full((100, 150), 0.5, np.float16))]


@pytest.fixture(scope="module")
def scenes(sources, tmp_path_factory):
    """Four scenes in two files."""
    folder = tmp_path_factory.mktemp("scenes")
    files = [folder / "a.npy", folder / "b.npy"]
    for count, seed, file in ((3, 1, files[0]), (1, 2, files[1])):
        save_scene_samples(sources, count, ColourSceneRecipe(), file, reader=None, seed=seed)
    return Samples(files)


def test_samples_of_scenes_are_kept_with_their_truth(scenes, sources):
    assert len(scenes) == 4
    assert np.abs(scenes[0].propagated - 2 * scenes[0].planes[4]).max() > 0  # rounds after the first changed something
    for number, seed in ((0, (1, 0)), (2, (1, 2)), (3, (2, 0))):
        true = render_colour_scene(sources, ColourSceneRecipe(), np.random.default_rng(seed))
        np.testing.assert_array_equal(scenes[number].log2_sigma, true.log2_sigma)
        np.testing.assert_array_equal(scenes[number].state, true.state)
        means = true.pixels.reshape(112, 4, 112, 4, 3).mean((1, 3)) / 255 - 0.5
        np.testing.assert_allclose(scenes[number].planes[:3], np.moveaxis(means, 2, 0), atol=2e-3)


def test_a_sample_of_a_photograph_has_its_truth_where_it_is_valid():
    pixels = data.astronaut()[:390, :401]
    truth = np.full(pixels.shape[:2], 2.0)
    truth[:, 200:] = 8.0
    valid = np.ones(truth.shape, bool)
    valid[:200] = False
    sample = example_sample(Example("astronaut", pixels, truth, valid), BlurReader())
    assert sample.planes.shape == (CHANNELS, 98, 101)
    assert (sample.state[:50] == UNKNOWN).all()
    assert (sample.state[50:] == KNOWN).all()
    assert (sample.log2_sigma[:, :50] == 1).all()
    assert (sample.log2_sigma[:, 50:] == 3).all()
    with pytest.raises(DefocusError, match="need 384 px a side"):
        example_sample(Example("small", pixels[:380], truth[:380], valid[:380]), BlurReader())


def test_augmentation_moves_evidence_and_truth_together():
    random = np.random.default_rng(0)
    truth = random.random((8, 8)).astype(np.float32)
    sample = Sample(np.repeat(truth[None], CHANNELS, axis=0), truth, truth, (100 * truth).astype(np.uint8))
    for change in (Sample.mirrored, Sample.upside_down, Sample.transposed):
        changed = change(stacked([sample, sample]))
        np.testing.assert_array_equal(changed.planes[1, 5], changed.log2_sigma[0])
        np.testing.assert_array_equal(changed.propagated, changed.log2_sigma)
        np.testing.assert_array_equal((100 * changed.log2_sigma).astype(np.uint8), changed.state)
        assert not np.array_equal(changed.log2_sigma[0], truth)


def test_a_batch_is_of_scenes_or_of_photographs(scenes):
    plane = np.zeros((100, 110))
    marked = Sample(np.full((CHANNELS, 100, 110), 9, np.float16), plane, plane, np.ones((100, 110), np.uint8))
    for share in (0.0, 1.0):
        parameters = replace(UNCHANGED, truth_share=share)
        batch = fitting._batch(scenes, [marked], parameters, np.random.default_rng(0))
        assert batch.planes.shape == (2, CHANNELS, 96, 96)
        assert bool((batch.planes[:, 3:] == 9).all()) == bool(share)


def pictures(count):
    """Samples of noise, of which everything is known."""
    random = np.random.default_rng(1)
    planes = random.normal(0, 0.3, (count, CHANNELS, 96, 96)).astype(np.float32)
    plane = np.ones((96, 96), np.float32)
    return [Sample(each, plane, plane, np.full((96, 96), KNOWN, np.uint8)) for each in planes]


def test_the_sigmas_of_a_picture_are_shifted_together():
    parameters = replace(UNCHANGED, batch=8, truth_share=1, octave_shift=0.5)
    changed, same = (
        fitting._batch(None, pictures(3), each, np.random.default_rng(4))
        for each in (parameters, replace(parameters, octave_shift=0))
    )
    octaves = changed.log2_sigma - same.log2_sigma
    assert 0.1 < float(octaves.std()) < 1
    assert float(octaves.flatten(1).std(1).max()) < 1e-6  # all of a picture alike
    for plane in range(CHANNELS):
        moved = 2 * (changed.planes[:, plane] - same.planes[:, plane])
        is_log2 = plane in (3, 4, 12, 13, 14)  # reading, propagated, and the range of the photograph
        torch.testing.assert_close(moved, octaves if is_log2 else torch.zeros_like(octaves), atol=1e-5, rtol=0)


def test_colours_are_dimmed_and_left_out_and_noise_lies_over_everything():
    of = replace(UNCHANGED, batch=64, truth_share=1)
    random = lambda: np.random.default_rng(4)  # noqa: E731
    same, dimmed, grey, noisy = (
        fitting._batch(None, pictures(3), each, random()).planes
        for each in (of, replace(of, dimmed=1), replace(of, grey=1), replace(of, noise=0.1))
    )
    contrast = dimmed[:, :3].std((1, 2, 3)) / same[:, :3].std((1, 2, 3))
    assert 0 <= contrast.min() < 0.2 and 0.8 < contrast.max() <= 1
    torch.testing.assert_close(grey[:, :3], same[:, :3].mean(1, keepdim=True).expand(-1, 3, -1, -1))
    for changed in (dimmed, grey):
        torch.testing.assert_close(changed[:, 3:], same[:, 3:])
    torch.testing.assert_close((noisy - same).std((0, 2, 3)), torch.full((CHANNELS,), 0.1), atol=0.005, rtol=0)


def test_channels_are_left_out_in_training_alone():
    network = CompletionNetwork(dropped=0.5)
    torch.nn.init.normal_(network.head.weight)
    planes = torch.rand(1, CHANNELS, 32, 32)
    with torch.no_grad():
        assert not torch.equal(network(planes).odds, network(planes).odds)
        network.eval()
        assert torch.equal(network(planes).odds, network(planes).odds)


def test_scenes_are_seen_six_times_if_steps_are_not_given():
    assert fitting.steps_for(2_800) == 1_050
    assert fitting.steps_for(8_192) == fitting.CompletionTraining().steps
    assert fitting.steps_for(1) == 1


class Certain:
    """A reader that is right as often as it is certain."""

    def confidence(self, certainty):
        return certainty


def test_confidence_is_calibrated_as_the_map_has_it():
    """What was propagated is right where the reading is certain; what the network says is right nowhere."""
    planes = np.zeros((CHANNELS, 96, 96), np.float32)
    planes[6] = 2 * np.float32(0.2) - 1  # certainty
    planes[6, :, 48:] = 1
    planes[10] = 1  # all of it is evidence of the lens
    planes[3] = planes[4] = -0.5  # what the network has to go by: half a px
    right, known = np.ones((96, 96), np.float32), np.full((96, 96), KNOWN, np.uint8)
    samples = [Sample(planes, right, right, known)] * 4
    network = CompletionNetwork().eval()
    curve, scores = fitting._evaluate(network, samples, samples[:2], Certain(), "cpu", lambda *_: None)
    assert scores.right == 0.5
    assert scores.error_octaves == 1.0  # two octaves in one half
    assert scores.confident_error_octaves == 0
    assert scores.calibration_error == 0
    assert max(curve["confidence"]) == 0  # not a half: what was propagated is right by its own confidence


def test_photographs_count_as_much_as_scenes_for_confidence():
    """The network says one probability everywhere, and is right on scenes alone."""
    planes = np.zeros((CHANNELS, 96, 96), np.float32)
    planes[6], planes[3], planes[4] = -1, 0.5, 0.5
    known = np.full((96, 96), KNOWN, np.uint8)
    scene, photograph = (Sample(planes, np.ones((96, 96)), np.full((96, 96), log2), known) for log2 in (1.0, 3.0))
    network = CompletionNetwork().eval()
    curve, _ = fitting._evaluate(network, [scene] * 6, [photograph] * 2, Certain(), "cpu", lambda *_: None)
    assert curve["confidence"][10] == 0.5


def test_a_photograph_with_truth_is_learned_from_at_four_sizes():
    image = data.astronaut()[:432, :500]
    truth = np.full(image.shape[:2], 2.0, np.float32)
    valid = np.ones(truth.shape, bool)
    valid[:, :250] = False
    sizes = list(fitting._at_four_sizes(Example("astronaut", image, truth, valid)))
    assert [each.image.shape[:2] for each in sizes] == [(432, 500), (389, 450), (518, 600), (648, 750)]
    for each, sigma in zip(sizes, (2, 1.8, 2.4, 3), strict=True):
        assert each.truth.shape == each.valid.shape == each.image.shape[:2]
        assert np.allclose(each.truth, sigma)
        assert each.valid.dtype == bool and each.valid.mean() == pytest.approx(0.5, abs=0.01)
    small = Example("small", image[:400], truth[:400], valid[:400])
    assert len(list(fitting._at_four_sizes(small))) == 3  # a step sees 384 px


def test_a_new_network_says_the_mean_of_what_was_read_and_propagated():
    planes = torch.rand(1, CHANNELS, 32, 32)
    with torch.no_grad():
        found = CompletionNetwork()(planes)
    torch.testing.assert_close(found.log2_sigma, planes[:, 3] + planes[:, 4])
    assert found.odds.shape == (1, 32, 32)


def test_nothing_is_right_where_no_blur_of_the_lens_is_seen():
    log2, state = torch.zeros(1, 1, 3), torch.tensor([[[UNKNOWN, KNOWN, NEVER]]])
    assert fitting._is_right(log2, log2, state).tolist() == [[[True, True, False]]]
    assert fitting._is_right(log2, log2 + 1, state).tolist() == [[[False, False, False]]]


def test_unknown_truth_teaches_nothing_and_unreadable_truth_teaches_doubt():
    network = CompletionNetwork()
    planes, log2 = torch.rand(1, CHANNELS, 32, 32), torch.rand(1, 32, 32)
    state = torch.full((1, 32, 32), UNKNOWN)
    state[:, 0, 0] = NEVER
    fitting._loss(network, planes, log2, state).backward()
    gradient = network.head.bias.grad.reshape(3, 4).sum(1)
    assert gradient[:2].abs().max() == 0  # nothing is said of sigma
    assert gradient[2] > 0  # the odds of being right fall
    network.zero_grad()
    fitting._loss(network, planes, log2, torch.full((1, 32, 32), UNKNOWN)).backward()
    assert all(float(each.grad.abs().max()) == 0 for each in network.parameters())


def test_steps_lower_the_loss_and_the_same_seed_gives_the_same(scenes):
    parameters = replace(SMALL, steps=30, learning_rate=1e-2)
    fixed = fitting._batch(scenes, [], replace(parameters, batch=4), np.random.default_rng(9))
    network = fitting.fit(scenes, [], parameters)
    with torch.no_grad():
        before, after = (float(fitting._loss(each, *fixed)) for each in (CompletionNetwork(), network))
    assert after < before - 0.05
    again = fitting.fit(scenes, [], parameters)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)


class Killed(Exception):
    """Stands for the process being killed."""


def test_killed_and_resumed_equals_uninterrupted(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_CHECKPOINT_STEPS", 2)
    whole = fitting.fit(scenes, [], SMALL)
    rate = fitting._rate

    def killed(step, parameters):
        if step == 3:
            raise Killed
        return rate(step, parameters)

    monkeypatch.setattr(fitting, "_rate", killed)
    with pytest.raises(Killed):
        fitting.fit(scenes, [], SMALL, checkpoint=tmp_path / "checkpoint.pt")
    monkeypatch.setattr(fitting, "_rate", rate)
    resumed = fitting.fit(scenes, [], SMALL, checkpoint=tmp_path / "checkpoint.pt")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_the_onnx_graph_computes_what_torch_trained():
    import onnxruntime

    torch.manual_seed(0)
    network = CompletionNetwork().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((parameter + 0.05 * torch.randn_like(parameter)).half())  # the file keeps 16 bits
    session = onnxruntime.InferenceSession(network.weights({}).to_onnx(), providers=["CPUExecutionProvider"])
    planes = np.random.default_rng(0).normal(0, 1, (1, CHANNELS, 64, 96)).astype(np.float32)
    log2_sigma, right = session.run(["log2_sigma", "right"], {"planes": planes})
    with torch.no_grad():
        found = network(torch.from_numpy(planes))
    np.testing.assert_allclose(log2_sigma[:, 0], found.log2_sigma.numpy(), atol=1e-4)
    np.testing.assert_allclose(right[:, 0], torch.sigmoid(found.odds).numpy(), atol=1e-4)
    assert log2_sigma.std() > 0.1


def test_sources_keep_their_colours(tmp_path):
    Image.fromarray(data.coffee()[:120, :160]).save(tmp_path / "coffee.png")
    source = read_colour_source(tmp_path / "coffee.png")
    np.testing.assert_array_equal(source.pixels, data.coffee()[:120, :160])
    assert source.own_blur.shape == (30, 40)
    save_sources([source], tmp_path / "sources.npz")
    (back,) = load_sources(tmp_path / "sources.npz")
    np.testing.assert_array_equal(back.pixels, source.pixels)
    np.testing.assert_array_equal(back.own_blur, source.own_blur)


def camera_set(folder: Path) -> Path:
    """A data set camera/ of four photographs, two of which are for training."""
    for name in ("image", "truth"):
        (folder / "camera" / name).mkdir(parents=True)
    for number in range(4):
        Image.fromarray(data.astronaut()[:400, :400]).save(folder / f"camera/image/{number}.png")
        levels = Image.fromarray(np.full((400, 400), 2001, np.uint16))
        levels.save(folder / f"camera/truth/{number}.png")
    return folder


@pytest.mark.slow
def test_training_writes_weights_that_estimate_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "HELD_OUT_SCENES", 2)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("coffee", "astronaut", "rocket"):
        Image.fromarray(getattr(data, name)()).resize((240, 200)).save(photos / f"{name}.png")
    truths, out = camera_set(tmp_path), tmp_path / "new.onnx"
    reported = []
    options = TrainingOptions(scenes=4, steps=3, truths=truths, note="Three.")
    trainer = find_method("pyramid").load_trainer("completion")
    said = trainer.train(photos, out, options, lambda step, *rest: reported.append(step))
    truths_read = {"training photographs with truth", "calibration photographs with truth"}
    assert {"training scenes", "held-out scenes", "training", "calibration", *truths_read} <= set(reported)
    made, shipped = (PyramidWeights.load(path) for path in (out, find_method("pyramid").weights_file()))
    for name, value in shipped.parameters.items():
        np.testing.assert_array_equal(made.parameters[name], value)
    assert made.completion.card["photographs"] == {"training": 2, "held-out": 1, "truths": 2}
    assert "Three." in out.with_suffix(".md").read_text(encoding="utf-8")
    m = defocus.estimate(data.coffee(), weights=out)
    assert m.metadata["completed"]
    assert np.isfinite(m.sigma).all()
    parameters = fitting.CompletionTraining(scenes=4, steps=3)
    scores = fitting.train_completion(photos, out, parameters, truths=truths, resume=True)
    assert scores.scenes == 2
    assert f"mean error {scores.error_octaves:.3f} octaves" in said
    assert np.isfinite([scores.propagated_error_octaves, scores.right, scores.calibration_error]).all()
    with pytest.raises(DefocusError, match="belongs to a training"):
        fitting.train_completion(photos, out, parameters, resume=True)
