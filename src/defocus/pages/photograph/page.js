// The page: what is shown, and what people do with it.
import {Brush} from './brush.js';
import {openCarrier} from './carrier.js';
import {FlatRenderer} from './flat.js';
import {onGestures} from './gestures.js';
import {borderOf, guessesOf, isMoved, maskOf} from './mask.js';
import {clamp, coloursOf, MeasuredMap, placeOf, sigmaOf, ticksOf, written} from './measured.js';
import {amountOf, beyondFocus} from './refocus.js';
import {Renderer} from './renderer.js';
import {Comparison, Grid, ratingOfKey, starsOf} from './shoot.js';
import {Solid} from './solid.js';
import {KeptStrokes} from './strokes.js';
import {isTooCoarse, partInView} from './view.js';

const PHOTOGRAPH = 0, OVERLAY = 1, MAP = 2, REFOCUS = 3, SOLID = 4;
const AT_REST = 200; // ms without a change after which the picture is drawn as well as it can be
const NEAREST = 8; // screen px for one of the photograph at most

const KEYS = [
  ['1 2 3 4 5', 'photograph, overlay, map, refocus, 3-D'],
  ['arrows', 'move the cursor, and read the blur at it aloud (Shift: by 1 px)'],
  ['F or Enter', 'focus at the cursor'],
  ['Z', '100 % at the cursor, and back'],
  ['+ − 0', 'nearer, farther, whole photograph'],
  ['[ ]', 'threshold of what is in focus'],
  [', .', 'aperture'],
  ['B', 'before, while it is held'],
  ['O H', 'outline, hatching'],
  ['M T E', 'export mask, cut-out, refocused'],
];
const KEYS_OF_SEVERAL = [
  ['Esc', 'all photographs'],
  ['N Shift+N', 'next photograph, the one before'],
  ['Space', 'in the grid: choose for comparing'],
  ['C', 'compare what is chosen, or the burst'],
  ['R', 'in the grid: sort in what has been read meanwhile'],
  ['Z', 'comparing: 100 % at the champion’s focus point or sharpest place'],
  ['→ ↑', 'comparing: next challenger, the challenger wins'],
];
const KEYS_OF_THE_BRUSH = [
  ['S D L V', 'brush: sharp here, blurred here, like the cursor’s place, none'],
  ['Space', 'paint at the cursor'],
  ['Ctrl+Z', 'take a stroke back; with Shift: paint it again'],
];
const KEYS_OF_RATINGS = [
  ['P X U', 'keep, reject, unrated'],
  ['Shift+P', 'in the grid: keep this one of a burst, reject the rest'],
  ['0 to 5', 'in the grid and comparing: stars'],
];

const element = id => document.getElementById(id);
const carrier = openCarrier();
const canvas = element('view');

const state = {
  view: OVERLAY, threshold: 1, amount: amountOf(1.6), focus: null, aperture: 'disc', opacity: 0.5, outline: true, hatched: false,
  split: 0, zoom: 1, x: 0, y: 0, cursor: null, byKeyboard: false, index: 0, grow: 0, feather: 2,
};
const brush = new Brush();
let grid, comparison, frames = [], inView = 'viewer';
let renderer, solid, surfaceOf, info, map, photograph, fitting = 1, detail = null, sharpenedAsked = false;
let folder, turns = 0; // how often another photograph or part of the page was turned to

// ---- loading ----

async function start() {
  drawBy(webGL() ?? new FlatRenderer(element('flat')));
  state.view = carrier.view;
  const list = await carrier.photographs();
  frames = list.photographs;
  if (!frames.length) throw new Error('There is no photograph to show.');
  const several = frames.length > 1;
  const keys = [...KEYS, ...several ? KEYS_OF_SEVERAL : [], ...carrier.served ? [...KEYS_OF_THE_BRUSH, ...KEYS_OF_RATINGS] : []];
  element('key-list').append(...keys.flatMap(([names, meaning]) => [text('dt', names), text('dd', meaning)]));
  element('rating').hidden = !carrier.served;
  if (several) {
    grid = new Grid(element('shoot'), carrier, {open: index => show(index).catch(complain), compare, rate: carrier.served ? rateOrSay : null});
    comparison = new Comparison(element('comparison'), carrier, {
      open: show, rate: carrier.served ? rate : null, complain,
    });
    grid.update(frames);
    folder = list.folder ?? document.title;
    addEventListener('popstate', () => {
      if (inView !== 'shoot') overview();
    });
    state.index = grid.shown[0].index;
    overview();
    document.body.dataset.ready = 'all';
  } else {
    await show(frames[0].index);
  }
  if (carrier.served) follow(list.version);
}

// Learn what has become of the photographs while they are read.
async function follow(version) {
  for (let lost = false; ; ) {
    let list;
    try {
      list = await carrier.photographs(version);
      if (lost) busy('');
      lost = false;
    } catch (error) { // a computer that slept breaks a request off, and the next one is answered
      complain(error);
      lost = true;
      await new Promise(done => setTimeout(done, 2000));
      continue;
    }
    version = list.version;
    frames = list.photographs;
    grid?.update(frames);
    comparison?.update(frames);
    sayRating();
    noticeStrokes();
  }
}

// Show one of the viewer, the grid ("shoot") and the comparison.
function turnTo(part) {
  inView = part;
  turns++;
  busy('');
  // The browser's "back" leads to the grid.
  if (grid && part !== 'shoot' && history.state !== 'opened') history.pushState('opened', '');
  for (const name of ['viewer', 'shoot', 'comparison']) element(name).hidden = name !== part;
  element('views').hidden = part !== 'viewer';
  element('overview').hidden = !grid || part === 'shoot';
  for (const name of ['previous', 'next']) element(name).hidden = !grid || part !== 'viewer';
}

function overview() {
  if (!grid) return;
  const at = inView === 'comparison' ? comparison.champion.index : state.index;
  turnTo('shoot');
  element('name').textContent = document.title = folder;
  grid.focusOn(at);
}

function compare(indices) {
  turnTo('comparison');
  element('name').textContent = 'Side by side';
  comparison.show(indices.map(index => frames.find(frame => frame.index === index))).catch(complain);
}

function rateOrSay(index, key) {
  rate(index, key).catch(complain);
}

let lastRating = Promise.resolve();

// Rate a photograph by a key. One after the other: what a key means may depend on the rating before.
function rate(index, key) {
  busy('');
  const rated = lastRating.then(() => keepRating(index, key));
  lastRating = rated.catch(() => {});
  return rated;
}

async function keepRating(index, key) {
  const find = () => frames.find(one => one.index === index), was = find().rating ?? 0;
  const told = await carrier.send(index, 'rating', {rating: ratingOfKey(key, was), was});
  find().rating = told.rating;
  grid?.update(frames);
  comparison?.update(frames);
  sayRating();
}

function sayRating() {
  const frame = frames.find(one => one.index === state.index);
  if (frame) element('rated').textContent = starsOf(frame.rating) || 'unrated';
}

function showNext(step) {
  const order = grid ? grid.shown : frames, at = order.findIndex(frame => frame.index === state.index);
  const next = order[at + step];
  return next && show(next.index);
}

function webGL() {
  try {
    return new Renderer(canvas);
  } catch {
    return null;
  }
}

// Draw by one of the renderers from now on. What draws without WebGL has a canvas of its own, above the other one, which
// stays the one that is pressed and focused.
function drawBy(next) {
  renderer = next;
  canvas.classList.toggle('unseen-behind', next.canvas !== canvas);
  showCanvas();
  if (!map) return;
  hold();
  resize(false);
  lensChanged();
}

function showCanvas() {
  canvas.hidden = state.view === SOLID;
  element('flat').hidden = state.view === SOLID || renderer.canvas === canvas;
  element('solid').hidden = state.view !== SOLID;
}

// Give the renderer what it draws of the photograph.
function hold() {
  renderer.setPicture('photograph', photograph);
  renderer.setPicture('sharpened', photograph);
  renderer.setMap(map);
  detail = null;
  sharpenedAsked = false;
}

// A graphics card that sleeps, or is needed elsewhere, drops all that it held; mostly it comes back.
canvas.addEventListener('webglcontextlost', event => {
  event.preventDefault(); // so that it may
  drawBy(new FlatRenderer(element('flat')));
});
canvas.addEventListener('webglcontextrestored', () => {
  const again = webGL();
  if (again) drawBy(again);
});

async function show(index) {
  turnTo('viewer');
  busy('Reading …');
  element('name').textContent = frames.find(frame => frame.index === index)?.name ?? '';
  // Nothing of the photograph before may stay: what is painted or exported from now on is of this one.
  Object.assign(state, {index, focus: null, cursor: null, split: 0});
  map = null;
  detail = null;
  sharpenedAsked = false;
  brush.begin([]);
  element('split').value = 0;
  element('stage').classList.add('empty');
  for (const name of ['share', 'facts', 'exported', 'reading']) element(name).textContent = '';
  const turn = turns, wanted = () => turn === turns;
  let parts;
  try {
    parts = await partsOf(index, wanted);
  } catch (error) {
    if (wanted()) throw error;
  }
  if (!wanted()) return;
  photograph?.close();
  [info, photograph, map] = parts;
  element('stage').classList.remove('empty');
  hold();
  element('name').textContent = info.name;
  document.title = `${info.name} · defocus`;
  element('unit').textContent = info.unit;
  for (const part of document.querySelectorAll('.px')) part.hidden = info.unit !== 'px';
  brush.begin(info.strokes ?? []);
  if (carrier.served) {
    kept.learn(index, info);
    setRadius();
    sayBrush();
  }
  drawLegend();
  setThreshold(info.unit === 'px' ? info.threshold : info.automatic_threshold);
  state.cursor = [info.width / 2, info.height / 2];
  resize(true);
  await choose(info.unit === 'px' || state.view < REFOCUS ? state.view : OVERLAY);
  element('facts').textContent = factsInWords();
  busy('');
  sayRating();
  if (grid && document.activeElement === document.body) canvas.focus({preventScroll: true}); // for the arrow keys
  document.body.dataset.ready = String(index);
}

// The figures of a photograph, itself and its map; undefined where it is not wanted any more.
async function partsOf(index, wanted) {
  const [first, told] = await Promise.all([carrier.picture(index, 'photograph'), carrier.info(index, wanted)]);
  if (!told) return undefined;
  const picture = await createImageBitmap(first, {colorSpaceConversion: 'none', premultiplyAlpha: 'none'});
  return [told, picture, await MeasuredMap.decode(told, await carrier.picture(index, 'map'))];
}

function factsInWords() {
  const facts = [`${info.width} × ${info.height} px, read by ${info.method}`];
  if (info.seconds) facts.push(`in ${info.seconds.toFixed(1)} s`);
  return [`${facts.join(' ')}.`, info.motion ? `Movement: ${info.motion}.` : '', ...info.warnings ?? []].filter(Boolean).join(' ');
}

function drawLegend() {
  const colours = coloursOf(info), ramp = element('ramp').getContext('2d'), row = ramp.createImageData(256, 1);
  for (let k = 0; k < 256; k++) row.data.set([...colours.subarray(3 * k, 3 * k + 3), 255], 4 * k);
  ramp.putImageData(row, 0, 0);
  element('ticks').replaceChildren(...ticksOf(info, 6).map(tick => {
    const mark = text('span', String(Number(tick.toPrecision(3))));
    mark.style.left = `${100 * placeOf(info, tick)}%`;
    return mark;
  }));
}

// ---- drawing ----

let frameAsked = false, atRest = false, restTimer;

function redraw() {
  if (frameAsked) return;
  frameAsked = true;
  requestAnimationFrame(() => {
    frameAsked = false;
    if (!map) return;
    if (state.view === SOLID) {
      if (surfaceOf === map) solid.draw();
      return;
    }
    renderer.draw(scene());
    drawBrush();
    if (state.view === REFOCUS && renderer.atRest && renderer.unfinished) redraw();
  });
}

// Px of what is drawn for each of the page.
function pxRatio() {
  return renderer.canvas.width / element('stage').clientWidth;
}

function scene() {
  const ratio = pxRatio();
  return {
    size: [info.width, info.height], view: [state.x, state.y, state.zoom * ratio], mode: state.view, lens: lens(),
    outline: state.outline, hatched: state.hatched, threshold: state.threshold, opacity: state.opacity, split: state.split,
    aperture: state.aperture, border: borderNow(), grow: state.grow, feather: state.feather, marker: state.byKeyboard ? state.cursor : null, detailBox: detail,
  };
}

let border = null; // the last one that was worked out

// Where the mask's border runs, if it has been moved; coarsely as long as the threshold moves.
function borderNow() {
  if (!isMoved(map, state)) return null;
  const same = border?.map === map && border.threshold === state.threshold;
  if (!same || atRest && border.every > 1) border = borderOf(map, state.threshold, !atRest);
  return border;
}

function drawBrush() {
  const paint = element('paint'), zoom = state.zoom * pxRatio(), {width, height} = renderer.canvas;
  if (paint.width !== width || paint.height !== height) Object.assign(paint, {width, height});
  const place = (x, y) => [width / 2 + (x - state.x) * zoom, height / 2 + (y - state.y) * zoom];
  brush.draw(paint.getContext('2d'), place, zoom, state.cursor);
}

function lens() {
  return {
    amount: state.amount, focus: state.focus?.blur ?? null, inFocusSigma: info.in_focus_sigma, discRadius: info.disc_radius,
  };
}

// Something changed: draw quickly now, and well when nothing changes any more.
function changed() {
  if (!map) return;
  atRest = false;
  renderer.begin(false);
  clearTimeout(restTimer);
  restTimer = setTimeout(() => {
    atRest = true;
    renderer.begin(true);
    say();
    redraw();
    if (carrier.served && renderer instanceof Renderer) askForDetail().catch(complain);
  }, AT_REST);
  say();
  redraw();
}

function lensChanged() {
  if (!map) return;
  if (state.view === REFOCUS) renderer.setLens(lens());
  if ((state.focus || state.amount < 1) && !sharpenedAsked && state.view === REFOCUS) {
    sharpenedAsked = true;
    askForSharpened(state.index).catch(complain);
  }
  changed();
}

async function askForSharpened(index) {
  const drawing = renderer;
  busy('Sharpening …');
  const picture = await createImageBitmap(await carrier.picture(index, 'sharpened'), {colorSpaceConversion: 'none'});
  if (index === state.index && renderer === drawing) renderer.setPicture('sharpened', picture);
  picture.close();
  busy('');
  changed();
}

// Where one px of the page's picture would be more than one of the screen, what is in view comes at full size.
async function askForDetail() {
  const {index} = state, zoom = state.zoom * pxRatio(), room = [canvas.width, canvas.height], size = [info.width, info.height];
  if (!isTooCoarse(photograph, zoom, size)) {
    detail = null;
    return;
  }
  const box = partInView([state.x, state.y], zoom, room, size), drawing = renderer;
  if (detail && box.join() === detail.join()) return;
  const blob = await carrier.crop(index, box, Math.max(...room));
  const picture = await createImageBitmap(blob, {colorSpaceConversion: 'none'});
  if (index === state.index && renderer === drawing) {
    renderer.setPicture('detail', picture);
    detail = box;
    redraw();
  }
  picture.close();
}

// ---- words ----

function say() {
  element('threshold-value').textContent = `${written(state.threshold)} ${info.unit}`;
  element('threshold').setAttribute('aria-valuetext', `${written(state.threshold)} ${info.unit}`);
  const {inFocus, readable} = map.shares(state.threshold);
  element('share').textContent = readable < 0.005 ? 'Nothing in this photograph can be read.'
    : `${percent(inFocus)} in focus, of the ${percent(readable)} that can be read. ${guessesInWords()}`;
  const aperture = apertureInWords();
  element('amount-value').textContent = aperture;
  element('amount').setAttribute('aria-valuetext', aperture);
  element('focus').textContent = state.focus
    ? `Focus at ${Math.round(state.focus.x)}, ${Math.round(state.focus.y)}, and at what is as blurred as there.`
    : 'Focus as taken. Click the photograph to focus elsewhere.';
  element('split-value').textContent = percent(state.split);
  element('grow-value').textContent = `${state.grow} px`;
  element('feather-value').textContent = `${state.feather} px`;
}

let guesses = null; // the last ones that were counted

// What of the mask is a guess; a sentence, or nothing.
function guessesInWords() {
  const {threshold, grow} = state, moved = borderNow();
  if (guesses?.map !== map || guesses.threshold !== threshold || guesses.grow !== grow || guesses.moved !== moved) {
    guesses = {map, threshold, grow, moved, ...guessesOf(map, threshold, moved, grow)};
  }
  const parts = [[guesses.area, 'of what is in focus'], [guesses.outline, 'of its outline']].filter(([share]) => share >= 0.005);
  return parts.length ? `Guesses make up ${parts.map(([share, what]) => `${percent(share)} ${what}`).join(' and ')}.` : '';
}

function apertureInWords() {
  if (state.amount < 1) return state.amount === 0 ? 'all in focus' : `blur less by ${percent(1 - state.amount)}`;
  if (state.amount === 1) return info.f_number ? `f/${written(info.f_number)}, as taken` : 'as taken';
  const blur = `blur × ${state.amount.toFixed(1)}`;
  return info.f_number ? `f/${written(info.f_number / state.amount)}, ${blur}` : blur;
}

function percent(fraction) {
  return `${Math.round(100 * fraction)} %`;
}

function read(x, y, aloud = false) {
  const inside = map && x >= 0 && y >= 0 && x < info.width && y < info.height;
  element('pointer').hidden = !inside;
  if (!inside) {
    element('reading').textContent = '';
    return;
  }
  read.last = [x, y];
  const {sigma, confidence} = map.at(x, y), [low, high] = info.coded;
  const bound = sigma <= low * 1.02 ? '≤ ' : sigma >= high * 0.98 ? '≥ ' : '';
  const guess = confidence < info.guess_below ? ', a guess' : '';
  const words = `${bound}${written(sigma)} ${info.unit}, confidence ${percent(confidence)}${guess}`;
  element('reading').textContent = `${Math.floor(x)}, ${Math.floor(y)}: ${words}`;
  element('pointer').style.left = `${100 * clamp(placeOf(info, sigma), 0, 1)}%`;
  if (aloud) {
    clearTimeout(read.timer);
    read.timer = setTimeout(() => { element('aloud').textContent = words; }, 250);
  }
}

function busy(words) {
  element('busy').textContent = words;
}

function complain(error) {
  busy(error.message);
}

function text(kind, words) {
  const made = document.createElement(kind);
  made.textContent = words;
  return made;
}

// ---- what people set ----

async function choose(view) {
  if (view >= REFOCUS && info?.unit !== 'px') return;
  const before = state.view;
  state.view = view;
  document.querySelector(`input[name=view][value="${view}"]`).checked = true;
  showCanvas();
  if (view !== SOLID) {
    if (before === SOLID) element('reading').textContent = ''; // of the surface's depth
    lensChanged();
    return;
  }
  try {
    await showSolid();
  } catch (error) {
    await choose(before === SOLID ? OVERLAY : before);
    throw error;
  }
}

async function showSolid() {
  if (!map) return;
  solid ??= new Solid(element('solid'), {
    lost() {
      surfaceOf = null;
      if (state.view === SOLID) busy('The graphics card has dropped the surface. It comes back by itself; the other views are there.');
    },
    restored() {
      if (state.view === SOLID) showSolid().catch(complain);
    },
  });
  if (surfaceOf !== map) {
    const wanted = map;
    busy('Making the surface …');
    const nearness = await createImageBitmap(await carrier.picture(state.index, 'depth'), {colorSpaceConversion: 'none'});
    if (map !== wanted) return;
    solid.load(info, photograph, nearness);
    surfaceOf = map;
    busy('');
  }
  const box = element('solid').getBoundingClientRect();
  solid.resize(Math.round(box.width * devicePixelRatio), Math.round(box.height * devicePixelRatio));
  element('reading').textContent = info.depth.unit === 'm' ? 'Depth in metres by the lens.' : 'Depth without scale.';
}

function setThreshold(threshold) {
  const slider = element('threshold'), place = 1000 * placeOf(info, threshold);
  state.threshold = threshold;
  // It may lie beyond the blur that the photograph has; a slider that could not show it would jump when it is touched.
  slider.min = Math.min(0, Math.floor(place));
  slider.max = Math.max(1000, Math.ceil(place));
  slider.value = place;
  changed();
}

function focusAt(x, y) {
  if (info.unit !== 'px' || x < 0 || y < 0 || x >= info.width || y >= info.height) return;
  state.focus = {x, y, blur: beyondFocus(map.sigmaAround(x, y), info.in_focus_sigma)};
  if (state.amount < 1) setAmount(0);
  lensChanged();
}

function setAmount(position) {
  element('amount').value = position;
  state.amount = amountOf(Number(position));
}

function setZoom(zoom, x = state.x, y = state.y) {
  const wanted = clamp(zoom, fitting * 0.5, Math.max(NEAREST, fitting));
  state.x = x + (state.x - x) * state.zoom / wanted;
  state.y = y + (state.y - y) * state.zoom / wanted;
  state.zoom = wanted;
  moved();
}

function moved() {
  // What is smaller than the view stays in its middle.
  const middle = (at, side, room) => side * state.zoom <= room ? side / 2 : clamp(at, 0, side), stage = element('stage');
  state.x = middle(state.x, info.width, stage.clientWidth);
  state.y = middle(state.y, info.height, stage.clientHeight);
  changed();
}

function resize(whole) {
  if (!map) return;
  if (state.view === SOLID) showSolid().catch(complain);
  const box = element('stage').getBoundingClientRect(), ratio = Math.min(devicePixelRatio, 2);
  if (!box.width) return;
  renderer.resize(Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio)));
  const before = fitting;
  fitting = 0.98 * Math.min(box.width / info.width, box.height / info.height);
  if (whole || state.zoom === before) Object.assign(state, {zoom: fitting, x: info.width / 2, y: info.height / 2});
  changed();
}

// ---- brush ----

function chooseBrush(kind) {
  if (info?.unit !== 'px') return; // a score has no blur to correct
  brush.kind = kind || null;
  if (kind === 'like') brush.place = brush.placed ? brush.place : null;
  document.querySelector(`input[name=brush][value="${kind}"]`).checked = true;
  sayBrush();
  redraw();
}

// What strokes of kind "like" are like.
function take(place) {
  brush.place = place.map(Math.floor);
  brush.placed = true;
  chooseBrush('like');
}

function setRadius() {
  if (!map) return;
  // A share of the photograph's diagonal: 2 to the power of the slider.
  brush.radius = Math.max(1, Math.hypot(info.width, info.height) * 2 ** Number(element('radius').value) / 2);
  element('radius-value').textContent = `${Math.round(2 * brush.radius)} px`;
  redraw();
}

function sayBrush(words = '') {
  const hint = {
    sharp: 'Paint what is in focus.', blurred: 'Paint what is out of focus.',
    like: brush.place ? 'Paint what is as blurred as the ringed place.' : 'Click the place that something else is like.',
  }[brush.kind] ?? '';
  const count = brush.strokes.length;
  element('painted').textContent = words || [hint, count ? `${count} ${count === 1 ? 'stroke' : 'strokes'}.` : ''].join(' ').trim();
  element('undo').disabled = element('clear').disabled = count === 0;
  element('redo').disabled = brush.undone.length === 0;
}

const kept = new KeptStrokes(carrier, {
  solving(index) {
    if (isShown(index)) sayBrush('Solving the map …');
  },
  kept(index, merged) {
    if (merged || isShown(index)) takeStrokes(index, merged).catch(complain);
  },
  failed(index, error) {
    if (isShown(index)) {
      brush.goBackTo(kept.known.get(index).strokes); // what could not be kept is not in the map either
      sayBrush();
      redraw();
    }
    complain(error);
  },
});

function isShown(index) {
  return map !== null && index === state.index;
}

// Have the map solved again.
function sendStrokes() {
  kept.send(state.index, brush.base, [...brush.strokes]);
}

let taken = 0; // how often strokes were asked for: only the last answer counts

// Show what is kept of a photograph now, and the map with it. `others`: not all of it was painted here.
async function takeStrokes(index, others) {
  const turn = ++taken, shown = () => isShown(index) && turn === taken;
  if (!shown()) return;
  const [told, blob] = await Promise.all([carrier.info(index), carrier.picture(index, 'map')]);
  const found = {...told, limits: info.limits, logarithmic: info.logarithmic}; // colours keep their meaning
  const solved = await MeasuredMap.decode(found, blob);
  if (!shown()) return;
  kept.learn(index, told);
  brush.goOnFrom(told.strokes);
  info = found;
  map = solved;
  renderer.setMap(map);
  sharpenedAsked = false;
  lensChanged();
  if (state.view === SOLID) await showSolid();
  else if (element('reading').textContent) read(...read.last, true); // what it said was of the map before
  sayBrush();
  if (others) element('painted').append(' What was painted on another page is here too.');
}

// Another page or program has painted on the photograph in view.
function noticeStrokes() {
  const frame = frames.find(one => one.index === state.index);
  if (frame && isShown(frame.index) && kept.isBehind(frame)) takeStrokes(frame.index, true).catch(complain);
}

function paintAt(x, y) {
  if (brush.kind === 'like' && !brush.place) {
    take([x, y]);
    return;
  }
  brush.press(x, y);
  brush.release();
  sendStrokes();
}

function undoStroke(redo) {
  if (redo ? brush.redo() : brush.undo()) sendStrokes();
}

if (carrier.served) {
  for (const button of document.querySelectorAll('input[name=brush]')) {
    button.addEventListener('change', () => {
      brush.placed = false;
      chooseBrush(button.value);
    });
  }
  element('radius').addEventListener('input', setRadius);
  element('undo').addEventListener('click', () => undoStroke(false));
  element('redo').addEventListener('click', () => undoStroke(true));
  element('clear').addEventListener('click', () => {
    brush.undone = [...brush.strokes].reverse();
    brush.strokes = [];
    sendStrokes();
  });
}

// ---- exports ----

async function exportAs(kind) {
  if (!map) return;
  const told = element('exported');
  told.textContent = 'Exporting …';
  if (kind === 'view') {
    await download(await new Promise(done => shownCanvas().toBlob(done)), 'view');
    told.textContent = 'Saved what is in view.';
  } else if (carrier.served) {
    const answer = await carrier.send(state.index, 'export', exportValues(kind));
    const words = `Wrote ${answer.name} in ${answer.seconds.toFixed(1)} s, into the folder ${answer.folder}.`;
    told.textContent = [words, answer.note].filter(Boolean).join(' ');
  } else {
    const picture = kind === 'mask' ? maskPicture() : cutout();
    await download(await picture.convertToBlob(), kind);
    const size = `Saved at ${picture.width} × ${picture.height} px${kind === 'mask' ? '; white is in focus' : ''}.`;
    told.textContent = [size, guessesInWords()].filter(Boolean).join(' ');
  }
}

function shownCanvas() {
  if (state.view !== SOLID) return renderer.canvas;
  solid.draw(); // a drawn surface is kept only until it has been shown
  return element('solid');
}

function exportValues(kind) {
  const {threshold, grow, feather, amount, aperture, focus} = state;
  const place = focus && [Math.floor(focus.x), Math.floor(focus.y)];
  const values = {
    mask: {threshold, grow, feather, convention: element('convention')?.value},
    cutout: {threshold, grow, feather},
    refocused: {amount, aperture, focus: place},
    layers: {threshold, amount: Math.max(amount, 1), aperture, focus: place},
    map: {format: element('map-format')?.value},
    depth: {},
  };
  return {kind, ...values[kind]};
}

function maskPicture() {
  const mask = maskOf(map, state), picture = new ImageData(map.width, map.height);
  mask.forEach((value, k) => picture.data.set([255 * value, 255 * value, 255 * value, 255], 4 * k));
  return enlarged(picture);
}

function cutout() {
  const matte = enlargedMatte(), canvas = new OffscreenCanvas(photograph.width, photograph.height);
  const context = canvas.getContext('2d');
  context.drawImage(photograph, 0, 0);
  context.globalCompositeOperation = 'destination-in';
  context.drawImage(matte, 0, 0);
  return canvas;
}

function enlargedMatte() {
  const mask = maskOf(map, state), picture = new ImageData(map.width, map.height);
  mask.forEach((value, k) => { picture.data[4 * k + 3] = 255 * value; });
  return enlarged(picture);
}

function enlarged(picture) {
  const small = new OffscreenCanvas(picture.width, picture.height);
  small.getContext('2d').putImageData(picture, 0, 0);
  const large = new OffscreenCanvas(photograph.width, photograph.height);
  large.getContext('2d').drawImage(small, 0, 0, large.width, large.height);
  return large;
}

async function download(blob, kind) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${info.name.replace(/\.[^.]*$/, '')}.defocus.${kind}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ---- controls ----

for (const button of document.querySelectorAll('input[name=view]')) {
  button.addEventListener('change', () => choose(Number(button.value)).catch(complain));
}
for (const button of document.querySelectorAll('[data-export]')) {
  button.addEventListener('click', () => exportAs(button.dataset.export).catch(error => {
    element('exported').textContent = error.message;
  }));
}
element('threshold').addEventListener('input', event => {
  state.threshold = sigmaOf(info, event.target.value / 1000);
  changed();
});
for (const name of ['opacity', 'split', 'grow', 'feather']) {
  element(name).addEventListener('input', event => {
    state[name] = Number(event.target.value);
    changed();
  });
}
for (const name of ['outline', 'hatched']) {
  element(name).addEventListener('change', event => {
    state[name] = event.target.checked;
    changed();
  });
}
element('amount').addEventListener('input', event => {
  // Near the dot it is as taken exactly.
  state.amount = amountOf(Math.abs(event.target.value) < 0.04 ? 0 : Number(event.target.value));
  choose(REFOCUS).catch(complain);
});
element('aperture').addEventListener('change', event => {
  state.aperture = event.target.value;
  lensChanged();
});
element('as-it-was').addEventListener('click', () => {
  state.focus = null;
  setAmount(0);
  lensChanged();
});
for (const button of document.querySelectorAll('[data-rating]')) {
  button.addEventListener('click', () => rateOrSay(state.index, button.dataset.rating));
}
element('overview').addEventListener('click', overview);
for (const [name, step] of [['previous', -1], ['next', 1]]) {
  element(name).addEventListener('click', () => Promise.resolve(showNext(step)).catch(complain));
}
element('help').addEventListener('click', () => element('keys').showModal());

// ---- pointer ----

const placeUnder = event => {
  const box = canvas.getBoundingClientRect();
  return [
    state.x + (event.clientX - box.left - box.width / 2) / state.zoom,
    state.y + (event.clientY - box.top - box.height / 2) / state.zoom,
  ];
};

onGestures(canvas, {
  accepts: () => map !== null,
  press(event, fingers) {
    state.byKeyboard = false;
    if (fingers > 1) brush.now = null;
    else if (brush.ready) brush.press(...placeUnder(event));
  },
  drag(dx, dy, event) {
    if (brush.now) {
      brush.move(...placeUnder(event));
      redraw();
      return;
    }
    state.x -= dx / state.zoom;
    state.y -= dy / state.zoom;
    moved();
  },
  pinch: (factor, event) => setZoom(state.zoom * factor, ...placeUnder(event)),
  release() {
    if (!brush.now) return false;
    brush.release();
    sendStrokes();
    return true;
  },
  tap(event) {
    const place = placeUnder(event);
    read(...place);
    if (brush.kind === 'like') take(place);
    else if (state.view === REFOCUS) focusAt(...place);
  },
  wheel(deltaY, event) {
    if (map) setZoom(state.zoom * Math.exp(-deltaY * 0.002), ...placeUnder(event));
  },
});
canvas.addEventListener('pointermove', event => {
  if (!map) return;
  state.cursor = placeUnder(event);
  read(...state.cursor);
  if (brush.kind) redraw();
});
canvas.addEventListener('pointerleave', () => read(-1, -1));
canvas.addEventListener('dblclick', event => map && fullSize(placeUnder(event)));

function fullSize(place) {
  const ratio = pxRatio();
  if (Math.abs(state.zoom * ratio - 1) < 0.01) resize(true);
  else setZoom(1 / ratio, ...place);
}

// ---- keys ----

const nudge = (name, by) => {
  const slider = element(name);
  slider.value = Number(slider.value) + by;
  slider.dispatchEvent(new Event('input'));
};
const does = {
  1: () => choose(PHOTOGRAPH), 2: () => choose(OVERLAY), 3: () => choose(MAP), 4: () => choose(REFOCUS), 5: () => choose(SOLID),
  f: async () => { await choose(REFOCUS); focusAt(...state.cursor); },
  z: () => fullSize(state.cursor),
  '+': () => setZoom(state.zoom * 1.25), '=': () => setZoom(state.zoom * 1.25), '-': () => setZoom(state.zoom / 1.25),
  0: () => { if (state.view === SOLID) solid.reset(); else resize(true); },
  '[': () => nudge('threshold', -10), ']': () => nudge('threshold', 10),
  ',': () => nudge('amount', -0.1), '.': () => nudge('amount', 0.1),
  o: () => element('outline').click(), h: () => element('hatched').click(),
  m: () => exportAs('mask'), t: () => exportAs('cutout'), e: () => carrier.served && exportAs('refocused'),
  '?': () => element('keys').showModal(),
};
if (carrier.served) {
  Object.assign(does, {
    s: () => chooseBrush('sharp'), d: () => chooseBrush('blurred'), l: () => take(state.cursor), v: () => chooseBrush(''),
  });
}
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
let held = null;

addEventListener('keydown', event => {
  if (element('keys').open) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z' && carrier.served && inView === 'viewer') {
    event.preventDefault();
    undoStroke(event.shiftKey);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (keyOfSeveral(event)) {
    event.preventDefault();
    return;
  }
  if (inView !== 'viewer' || !map) return;
  const {key, target} = event, arrow = ARROWS[key];
  const inField = target.matches('input[type=range], select');
  if (arrow && target === element('solid')) {
    event.preventDefault();
    solid.turnBy(arrow[0] * 0.04, arrow[1] * 0.04);
    return;
  }
  if (arrow) {
    if (target !== canvas) return;
    event.preventDefault();
    const step = (event.shiftKey ? 1 : Math.max(1, 12 / state.zoom));
    state.byKeyboard = true;
    state.cursor = [
      clamp(state.cursor[0] + arrow[0] * step, 0, info.width - 1), clamp(state.cursor[1] + arrow[1] * step, 0, info.height - 1),
    ];
    read(...state.cursor, true);
    redraw();
    return;
  }
  if (inField && target.tagName === 'SELECT') return; // letters choose there
  if (key === 'Enter' && target === canvas) {
    does.f();
    return;
  }
  if (key === ' ' && target === canvas && brush.kind) {
    event.preventDefault();
    paintAt(...state.cursor);
    return;
  }
  if (key.toLowerCase() === 'b' && held === null) {
    held = state.split;
    state.split = 1;
    redraw();
    return;
  }
  const action = does[key] ?? does[key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  Promise.resolve(action()).catch(complain);
});
// Keys of the grid and of comparing, and those that go from one photograph to another.
function keyOfSeveral(event) {
  const key = event.key.toLowerCase();
  if (key === '?' && inView !== 'viewer') return Boolean(element('keys').showModal() ?? true);
  if (inView === 'shoot') return grid.key(event);
  if (key === 'escape' && grid) {
    overview();
    return true;
  }
  if (inView === 'comparison') {
    const {challenger} = comparison;
    const action = {
      z: () => comparison.toggleFullSize(), '+': () => comparison.zoomBy(1.25), '-': () => comparison.zoomBy(0.8),
      arrowright: () => comparison.next(), arrowup: () => comparison.next(true), enter: () => show(comparison.champion.index),
    }[key];
    if (action) {
      Promise.resolve(action()).catch(complain);
      return true;
    }
    if (!carrier.served || ratingOfKey(key) === undefined) return false;
    rateOrSay(challenger.index, key);
    return true;
  }
  if (key === 'n' && grid) {
    Promise.resolve(showNext(event.shiftKey ? -1 : 1)).catch(complain);
    return true;
  }
  if (carrier.served && 'pxu'.includes(key)) {
    rateOrSay(state.index, key);
    return true;
  }
  return false;
}

addEventListener('keyup', event => {
  if (event.key.toLowerCase() !== 'b' || held === null) return;
  state.split = held;
  held = null;
  redraw();
});
new ResizeObserver(() => resize(false)).observe(element('stage'));

start().catch(complain);
