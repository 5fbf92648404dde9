"""The pyramid method: blur of any size in, the same sigma out, whatever the tiles, the threads and the noise."""

from dataclasses import replace

import numpy as np
import pytest
from skimage import data

import defocus
from defocus.errors import DefocusError, ParameterError, WeightsError
from defocus.evaluation.render import add_noise, disc_blur, gaussian_blur
from defocus.methods import find_method
from defocus.methods.pyramid import blur_reader
from defocus.methods.pyramid.blur_reader import BlurReader, padded_sides, summarise
from defocus.methods.pyramid.luma import mirrored, reduced
from defocus.methods.pyramid.method import PyramidParameters
from defocus.methods.pyramid.weights import BINS, BINS_PER_LEVEL, LOG2_SHARPEST, bin_sigmas
from defocus.optics.kernels import best_fitting_sigma, disc_radius
from defocus.training.pyramid import scenes
from defocus.training.pyramid.apertures import APERTURES, Aperture


@pytest.fixture(scope="module")
def gravel():
    """Texture everywhere, 256 x 256 and sharp: the mean of 2 x 2 px of a larger photograph."""
    grey = data.gravel().astype(float).reshape(256, 2, 256, 2).mean((1, 3))
    return np.repeat(np.rint(grey)[..., None], 3, 2).astype(np.uint8)


@pytest.fixture(scope="module")
def luma():
    """A grey photograph whose sides no tile and no level divides."""
    return data.camera()[:333, :459].astype(np.float32) / 255


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("lens", ["gaussian", "disc"])
def test_known_blur_in_known_sigma_out(gravel, sigma, lens):
    soft = gaussian_blur(gravel, sigma) if lens == "gaussian" else disc_blur(gravel, disc_radius(sigma))
    m = defocus.estimate(soft, method="pyramid")
    # Gravel has little but fine grain, so of 8 px of blur too little is left to tell it from coarser, sharper grain.
    assert np.median(m.sigma) == pytest.approx(sigma, rel=0.3)


@pytest.mark.parametrize("kind", APERTURES)
@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.7, 12.0])
def test_every_aperture_of_training_has_the_sigma_of_its_label(kind, sigma):
    for seed in range(3):
        kernel = Aperture.drawn(kind, np.random.default_rng(seed)).kernel(sigma)
        assert best_fitting_sigma(kernel) == pytest.approx(sigma, rel=0.01)


def test_blur_far_beyond_a_patch_is_read(gravel):
    wide = np.kron(gravel, np.ones((4, 4, 1), np.uint8))
    m = defocus.estimate(gaussian_blur(wide, 16.0), method="pyramid")
    assert 11 < np.median(m.sigma) < 23


def test_a_reading_does_not_depend_on_tiles(luma):
    reader = BlurReader()
    whole = reader.read(luma, tile=1024)
    for tile in (64, 128):
        tiled = reader.read(luma, tile=tile)
        np.testing.assert_allclose(np.exp2(tiled.log2_sigma), np.exp2(whole.log2_sigma), atol=1e-3)
        np.testing.assert_allclose(tiled.certainty, whole.certainty, atol=1e-3)


def test_a_reading_does_not_depend_on_threads(luma):
    one, two = (BlurReader(threads=n).read(luma) for n in (1, 2))
    np.testing.assert_allclose(two.log2_sigma, one.log2_sigma, atol=1e-5)


@pytest.mark.parametrize("noise", [2, 5, 10])
def test_noise_does_not_read_as_sharpness(gravel, noise):
    soft = gaussian_blur(gravel, 4.0)
    noisy = add_noise(soft, noise / 255, seed=1)
    clean, found = (np.median(defocus.estimate(p, method="pyramid").sigma) for p in (soft, noisy))
    # Noise hides the finest remains of detail, so some certainty goes; a reading of 1 px or less would be the noise's.
    assert found > 0.6 * clean


def test_confidence_is_lower_on_a_bare_wall(gravel):
    pixels = gravel.copy()
    pixels[:, 128:] = 120
    pixels = add_noise(gaussian_blur(pixels, 1.0), 1 / 255, seed=3)
    m = defocus.estimate(pixels, method="pyramid")
    assert m.confidence[:, :112].mean() > m.confidence[:, 160:].mean() + 0.1


def test_levels_are_means_and_small_photographs_have_fewer():
    finest = np.arange(48 * 64, dtype=np.float32).reshape(48, 64)
    assert padded_sides(finest.shape) == ((48, 64), 2)
    assert reduced(finest, 1).shape == (24, 32)
    assert reduced(finest, 1)[0, 0] == finest[:2, :2].mean()
    assert padded_sides((300, 400)) == ((384, 512), 5)
    assert padded_sides((5, 9)) == ((8, 16), 1)


@pytest.mark.parametrize("side", [3, 17, 40])
def test_a_plane_continues_as_its_mirror_image(side):
    plane = np.random.default_rng(side).random((side, side + 2), dtype=np.float32)
    whole = np.pad(plane, ((0, 24), (0, 30)), mode="symmetric")
    for rows, columns in ((slice(0, side + 24), slice(0, side + 32)), (slice(side - 1, side + 20), slice(2, side))):
        np.testing.assert_array_equal(mirrored(plane, rows, columns), whole[rows, columns])


def test_a_reading_does_not_depend_on_blocks(luma):
    """With small squares of blur around sharp ones, which are read at the finest level or not."""
    reader = BlurReader()
    whole = reader.read(luma, block=2048)
    blocks = reader.read(luma, block=256)
    np.testing.assert_allclose(blocks.log2_sigma, whole.log2_sigma, atol=1e-3)
    np.testing.assert_allclose(blocks.certainty, whole.certainty, atol=1e-3)


def test_the_finest_level_is_left_out_only_where_blur_is_wide(gravel, monkeypatch):
    wide = np.tile(gravel, (3, 3, 1))
    soft = gaussian_blur(wide, 6.0)
    soft[:256] = wide[:256]
    found = defocus.estimate(soft).sigma
    pixels = []
    session_run = blur_reader._Reading._read_tile

    def count(self, number, level, place, coarse, tile):
        if number == 0:
            pixels.append((tile[0].stop - tile[0].start) * (tile[1].stop - tile[1].start))
        return session_run(self, number, level, place, coarse, tile)

    monkeypatch.setattr(blur_reader._Reading, "_read_tile", count)
    again = defocus.estimate(soft).sigma
    np.testing.assert_array_equal(again, found)
    assert 0.3 < sum(pixels) / soft[..., 0].size < 0.7  # the sharp third, and squares at its border
    everywhere = defocus.estimate(soft, parameters=PyramidParameters(finer_levels="everywhere")).sigma
    # Measured: 0.002 on photographs, 0.01 on even blur of 4 px (docs/research/pyramid.md).
    assert np.abs(np.log2(found / everywhere)).mean() < 0.02
    np.testing.assert_allclose(found[:200], everywhere[:200], rtol=0.02)


def test_fast_reads_no_finest_level_and_blur_of_2_px_all_the_same(gravel, monkeypatch):
    read_tile, numbers = blur_reader._Reading._read_tile, set()

    def note(self, number, *others):
        numbers.add(number)
        return read_tile(self, number, *others)

    monkeypatch.setattr(blur_reader._Reading, "_read_tile", note)
    found = defocus.estimate(gaussian_blur(gravel, 2.0), parameters="fast")
    assert 0 not in numbers
    assert np.median(found.sigma) == pytest.approx(2.0, rel=0.3)
    assert found.metadata["parameters"]["finer_levels"] == "coarse"


def test_rectangles_cover_the_squares_once():
    wanted = np.random.default_rng(5).random((16, 16)) < 0.6
    wanted[:4, :12] = True
    covered = np.zeros(wanted.shape, int)
    for rows, columns in blur_reader._rectangles(wanted):
        covered[rows, columns] += 1
    assert (covered[wanted] == 1).all()
    assert covered.max() == 1
    assert blur_reader._rectangles(np.zeros((3, 3), bool)) == []
    # A chequerboard is cheaper to read as a whole, as each square has a margin.
    assert len(blur_reader._rectangles(np.indices((16, 16)).sum(0) % 2 == 0)) == 1


def test_certain_logits_are_summarised_as_such():
    logits = np.full((BINS, 1, 3), -30.0, np.float32)
    logits[20, 0, 0] = 0  # one bin
    logits[:, 0, 1] = 0  # every bin alike
    logits[10, 0, 2], logits[30, 0, 2] = 0.2, 0  # torn between two, a little more for the first
    found = summarise(logits)
    assert 2 ** found.log2_sigma[0, 0] == pytest.approx(bin_sigmas()[20], rel=1e-4)
    assert found.certainty[0, 0] > 0.9
    assert 2 ** found.log2_sigma[0, 1] == pytest.approx(bin_sigmas()[BINS // 2], rel=1e-3)
    assert found.certainty[0, 1] < 0.1
    assert 2 ** found.log2_sigma[0, 2] == pytest.approx(bin_sigmas()[10], rel=0.1)
    assert found.certainty[0, 2] == pytest.approx(0.55, abs=0.05)


def test_progress_and_seeds(gravel):
    seen = []
    m = defocus.estimate(gaussian_blur(gravel, 1.0), method="pyramid", progress=lambda step, share: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    known = np.isfinite(m.seeds.sigma)
    assert known.any()
    assert m.seeds.probability[known].min() >= PyramidParameters().seed_confidence


def test_it_is_the_default(gravel):
    assert defocus.estimate(gravel).method == "pyramid"


@pytest.mark.parametrize(
    "wrong", [{"matting_lambda": 0}, {"upsampling_radius": -1}, {"seed_confidence": 2}, {"largest_grid": 0}]
)
def test_wrong_parameters_are_told(wrong):
    with pytest.raises(ParameterError):
        PyramidParameters(**wrong)


def test_other_weights_are_told_apart(tmp_path):
    with pytest.raises(WeightsError, match="pyramid"):
        BlurReader(find_method("dhde").weights_file())
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(WeightsError, match="damaged"):
        BlurReader(broken)
    with pytest.raises(WeightsError, match="no weights file"):
        BlurReader(tmp_path / "missing.onnx")


def test_weights_of_one_reader_for_all_levels_can_be_trained_further(tmp_path):
    """Files of before the finest level had a reader of its own: not to estimate with, but both readers begin there."""
    onnx = pytest.importorskip("onnx")
    from defocus.methods.pyramid.weights import PyramidWeights, shapes

    random = np.random.default_rng(3)
    parts = {name.partition(".")[2]: shape for name, shape in shapes().items()}
    stored = {name: random.standard_normal(shape).astype(np.float32) for name, shape in parts.items()}
    pixels, state = (onnx.helper.make_tensor_value_info(name, 1, [1]) for name in ("pixels", "state"))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["pixels"], ["state"])],
        "pyramid",
        [pixels],
        [state],
        [onnx.numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, {"defocus": '{"kind": "pyramid", "card": {}}'})
    onnx.save(model, tmp_path / "earlier.onnx")
    begun = PyramidWeights.load(tmp_path / "earlier.onnx").parameters
    for name, value in begun.items():
        np.testing.assert_array_equal(value, stored[name.partition(".")[2]])
    assert begun.keys() == shapes().keys()
    with pytest.raises(WeightsError, match="earlier version"):
        BlurReader(tmp_path / "earlier.onnx")


def test_saved_weights_read_back(tmp_path):
    from defocus.methods.pyramid.weights import PyramidWeights, shapes

    random = np.random.default_rng(4)
    made = PyramidWeights({name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes().items()})
    made.save(tmp_path / "made.onnx")
    read = PyramidWeights.load(tmp_path / "made.onnx").parameters
    for name, value in made.parameters.items():
        np.testing.assert_array_equal(read[name], value)


def test_scenes_follow_from_their_seed():
    from defocus.training.pyramid.colour.scenes import KNOWN
    from defocus.training.pyramid.scenes import SceneRecipe, make_scenes
    from defocus.training.pyramid.sources import Source

    grey, colour = (
        Source(pixels, np.full((128, 128), 0.5, np.float16)) for pixels in (data.camera(), data.astronaut())
    )
    made, again = (make_scenes([grey], [colour], 7, SceneRecipe(), seed=7) for _ in range(2))
    for one, same in ((made.pixels, again.pixels), (made.log2_sigma, again.log2_sigma), (made.state, again.state)):
        np.testing.assert_array_equal(one, same)
    assert made.pixels.shape == (7, 256, 256)
    assert made.log2_sigma.shape == made.state.shape == (7, 128, 128)
    assert (made.state == KNOWN).any()
    assert np.isfinite(made.log2_sigma.astype(float)).all()
    other = make_scenes([grey], [colour], 7, SceneRecipe(), seed=8)
    assert not any(np.array_equal(one, its) for one, its in zip(made.pixels, other.pixels, strict=True))


def test_scenes_are_corners_of_colour_scenes_in_their_share():
    from defocus.training.pyramid.colour.recipe import ColourSceneRecipe
    from defocus.training.pyramid.colour.scenes import render_colour_scene
    from defocus.training.pyramid.scenes import SceneRecipe, make_scenes, render_scene
    from defocus.training.pyramid.sources import Source

    grey, colour = (
        Source(pixels, np.full((128, 128), 0.5, np.float16)) for pixels in (data.camera(), data.astronaut())
    )
    made = make_scenes([grey], [colour], 6, SceneRecipe(colour_share=0.9), seed=7)
    whole = render_colour_scene([colour], ColourSceneRecipe(), np.random.default_rng((7, 0, 1)))
    luma = whole.pixels @ np.array([0.299, 0.587, 0.114])
    corners = [luma[:256, :256], luma[:256, 192:], luma[192:, :256], luma[192:, 192:]]
    np.testing.assert_allclose(made.pixels[:4], corners, atol=0.51)
    for plane, of_whole in ((made.log2_sigma, whole.log2_sigma), (made.state, whole.state)):
        np.testing.assert_array_equal(plane[0, ::2, 1::2], of_whole[:64, :64])
        np.testing.assert_array_equal(plane[1, 1::2, ::2], of_whole[:64, -64:])
        np.testing.assert_array_equal(plane[2, ::2, ::2], of_whole[-64:, :64])
    np.testing.assert_array_equal(made.pixels[5], render_scene([grey], SceneRecipe(), np.random.default_rng((7, 5)))[0])
    (alone,) = make_scenes([grey], [], 1, SceneRecipe(colour_share=0), seed=7).pixels
    np.testing.assert_array_equal(alone, render_scene([grey], SceneRecipe(), np.random.default_rng((7, 0)))[0])


def test_unknown_truth_teaches_nothing_and_unreadable_truth_teaches_doubt():
    torch = pytest.importorskip("torch")
    from defocus.training.pyramid import fitting
    from defocus.training.pyramid.colour.scenes import KNOWN, NEVER, UNKNOWN
    from defocus.training.pyramid.scenes import SceneSet

    state = np.full((1, 128, 128), UNKNOWN, np.uint8)
    state[:, :64], state[:, 64:96] = KNOWN, NEVER
    log2_sigma = np.full((1, 128, 128), LOG2_SHARPEST + 15 / BINS_PER_LEVEL, np.float16)
    made = SceneSet(np.zeros((1, 256, 256), np.uint8), log2_sigma, state)
    _, targets, weights = fitting._read_batch(made, np.array([0]))
    known, never, unknown = slice(32), slice(32, 48), slice(48, None)
    assert (weights[:, :, known] == 1).all()
    expected = torch.zeros(BINS, 32, 64)
    expected[15] = 1
    torch.testing.assert_close(targets[0, :, known], expected, atol=0.01, rtol=0)  # the truth is kept as float16
    assert (weights[:, :, never] > 0).all()
    assert (weights[:, :, never] < 0.5).all()
    torch.testing.assert_close(targets[0, :, never], torch.full((BINS, 16, 64), 1 / BINS))
    assert (weights[:, :, unknown] == 0).all()
    assert (targets[:, :, unknown] == 0).all()


def test_a_scene_of_one_even_blur_reads_as_rendered():
    from defocus.training.pyramid.scenes import SceneRecipe, render_scene
    from defocus.training.pyramid.sources import Source

    sources = [Source(data.gravel(), np.full((128, 128), 0.5, np.float16))]
    recipe = SceneRecipe(layered_share=0, ramp_share=0, noise_share=0, jpeg_share=0)
    pixels, log2, _ = render_scene(sources, recipe, np.random.default_rng(2))
    assert np.ptp(log2) < 0.2
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("share", [0, 1])
def test_layers_of_one_picture_differ_in_blur_alone(share, monkeypatch):
    from defocus.training.pyramid.sources import Source

    # Everything in focus: where the occluders lie must then be invisible, if and only if they show the same picture.
    monkeypatch.setattr(scenes, "_layer_sigmas", lambda count, random: [0.0] * count)
    sources = [Source(data.camera(), np.full((128, 128), 0.5, np.float16))]
    recipe = scenes.SceneRecipe(layered_share=1, one_picture_share=share, ramp_share=0, noise_share=0, jpeg_share=0)
    shown = []
    for covered in (0, 200):
        mask = np.zeros((scenes.CANVAS, scenes.CANVAS), np.float32)
        mask[:, :covered] = 1
        monkeypatch.setattr(scenes, "_shape", lambda light, random, mask=mask: mask)
        shown.append(scenes.render_scene(sources, recipe, np.random.default_rng(3))[0])
    # One grey level: what is left of a sum of two shares after rounding.
    assert (np.abs(shown[0].astype(int) - shown[1]).max() <= 1) == bool(share)


@pytest.mark.parametrize("share", [0, 1])
def test_a_reduced_scene_is_as_blurred_as_it_says(share, monkeypatch):
    """An edge across and an edge down: the geometric mean of their widths is the sigma that the scene tells."""
    from PIL import Image
    from scipy.stats import norm

    from defocus.optics.light import srgb_to_linear
    from defocus.training.pyramid.colour.scenes import KNOWN

    monkeypatch.setattr(scenes, "_layer_sigmas", lambda count, random: [6.0])
    # Means (BOX) leave out a whole pixel here and there, within the edge or not.
    monkeypatch.setattr(scenes, "RESAMPLING", (Image.Resampling.BICUBIC,))
    recipe = scenes.SceneRecipe(("gaussian",), 0, 0, 0, 0, reduced_share=share, sharpened_share=0, jpeg_share=0)
    uneven = set()
    for seed in range(8):
        widths = []
        for axis in (0, 1):
            half = np.zeros((scenes.CANVAS, scenes.CANVAS), np.float32)
            half[(slice(None),) * axis + (slice(scenes.CANVAS // 2, None),)] = 1
            monkeypatch.setattr(scenes, "_layer", lambda *given, half=half: (half, np.zeros_like(half)))
            pixels, log2, state = scenes.render_scene([], recipe, np.random.default_rng(seed))
            rise = srgb_to_linear(pixels.astype(np.float32) / 255, by_table=True).mean(1 - axis)
            low, high = np.interp(norm.cdf([-1, 1]), rise, np.arange(rise.size))
            widths.append((high - low) / 2)
        assert (state == KNOWN).all()
        # Rounding to 1/255 moves either end of a width by a hundredth of a pixel or two.
        assert np.sqrt(widths[0] * widths[1]) == pytest.approx(2 ** float(log2.mean()), rel=0.01)
        assert (max(widths) < 5.9) == bool(share)
        uneven.add(abs(widths[0] - widths[1]) > 0.1)
    assert uneven == ({True, False} if share else {False})


@pytest.fixture
def tiny_training(tmp_path, monkeypatch):
    """A folder of three photographs and a training of two steps."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from PIL import Image

    from defocus.training.pyramid import fitting as pyramid

    monkeypatch.setattr(pyramid, "HELD_OUT_SCENES", 8)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("astronaut", "gravel", "brick"):
        Image.fromarray(getattr(data, name)()).resize((320, 320)).save(folder / f"{name}.png")
    return folder, tmp_path, pyramid.PyramidTraining(scenes=8, epochs=2, batch=4)


@pytest.mark.slow
def test_training_writes_weights_that_estimate_and_resumes(tiny_training, gravel):
    from defocus.training.pyramid.fitting import train_network

    folder, place, parameters = tiny_training
    scores = train_network(folder, place / "one.onnx", parameters, note="Three textures.")
    assert scores.scenes == 8
    assert "Three textures." in (place / "one.md").read_text(encoding="utf-8")
    m = defocus.estimate(gravel, method="pyramid", weights=place / "one.onnx")
    assert np.isfinite(m.sigma).all()
    again = train_network(folder, place / "one.onnx", parameters, resume=True, note="Three textures.")
    assert again == scores
    with pytest.raises(DefocusError, match="belongs to a training"):
        train_network(folder, place / "one.onnx", replace(parameters, seed=5), resume=True)


@pytest.mark.slow
def test_a_further_training_sees_new_scenes(tiny_training):
    from defocus.training.pyramid import fitting as pyramid
    from defocus.training.pyramid.scenes import SceneSet

    folder, place, parameters = tiny_training
    pyramid.train_network(folder, place / "one.onnx", parameters)
    pyramid.train_network(folder, place / "two.onnx", parameters, start=place / "one.onnx")
    (seen,) = (place / "one.run").glob("scenes-[0-9]*.npz")
    (new,) = (place / "two.run").glob("scenes-[0-9]*.npz")
    assert not np.array_equal(SceneSet.load(seen).pixels, SceneSet.load(new).pixels)
    held_out = [SceneSet.load(place / run / "scenes-held-out.npz") for run in ("one.run", "two.run")]
    np.testing.assert_array_equal(held_out[0].pixels, held_out[1].pixels)


@pytest.mark.slow
def test_the_result_of_a_further_training_is_the_mean_with_its_start(tiny_training):
    from defocus.methods.pyramid.weights import PyramidWeights, shapes
    from defocus.training.pyramid import fitting as pyramid

    folder, place, parameters = tiny_training
    pyramid.train_network(folder, place / "one.onnx", parameters)
    start = PyramidWeights.load(place / "one.onnx")
    (part,) = (place / "one.run").glob("scenes-[0-9]*.npz")
    trained, mean = (
        pyramid.fit([part], replace(parameters, start_share=share), start).weights({}).parameters for share in (0, 0.5)
    )
    for name in shapes():
        np.testing.assert_allclose(mean[name], (trained[name] + start.parameters[name]) / 2, atol=1e-6)
    assert any(np.abs(trained[name] - start.parameters[name]).max() > 1e-3 for name in shapes())


def test_the_onnx_graph_computes_what_torch_trained():
    torch = pytest.importorskip("torch")
    from defocus.training.pyramid.network import PyramidNetwork

    torch.manual_seed(0)
    network = PyramidNetwork()
    import onnxruntime

    session = onnxruntime.InferenceSession(network.weights({}).to_onnx(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).random((1, 1, 64, 64), dtype=np.float32)
    half = pixels.reshape(1, 1, 32, 2, 32, 2).mean((3, 5))
    zeros = {
        "coarse_state": np.zeros((1, 64, 4, 4), np.float32),
        "coarse_logits": np.zeros((1, BINS, 4, 4), np.float32),
    }
    state, logits = session.run(None, {"pixels": half, **zeros, "finest": np.array(False)})
    finest = {"pixels": pixels, "coarse_state": state, "coarse_logits": logits, "finest": np.array(True)}
    _, logits = session.run(None, finest)
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels), 2)[0].numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 9), (9, 3), (1, 5), (5, 5)])
def test_a_kernel_of_any_sides_blurs_as_a_convolution(shape):
    from scipy import ndimage

    from defocus.training.pyramid.apertures import blurred

    random = np.random.default_rng(0)
    plane, kernel = random.random((20, 30), np.float32), random.random(shape)
    expected = ndimage.convolve(plane.astype(float), kernel, mode="reflect")
    for first in (np.ones((1, 1)), np.ones((11, 11))):  # whatever other kernels are applied together with it
        np.testing.assert_allclose(blurred(plane[None], [first, kernel])[1][0], expected, rtol=1e-4)
