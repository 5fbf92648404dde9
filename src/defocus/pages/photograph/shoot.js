// Several photographs: all of them in a grid, and two to four side by side.
import {onGestures} from './gestures.js';
import {clamp} from './measured.js';
import {isTooCoarse, partInView} from './view.js';

const MOST_COMPARED = 4;
const AT_REST = 250; // ms after which what is in view is asked for at full size

// The grid. `act` has open(index), compare(indices), and rate(index, key), which is null where ratings cannot be kept.
export class Grid {
  constructor(place, carrier, act) {
    Object.assign(this, {place, carrier, act, frames: [], shown: [], chosen: new Set(), cells: new Map()});
    this.settings = {order: 'best', least: 0, hideRejected: false, hideShaken: false};
    this.bar = this.makeBar();
    this.list = made('div', {id: 'frames'});
    this.told = made('p', {id: 'count', role: 'status'});
    this.newsTold = made('span', {role: 'status'});
    this.news = made('p', {id: 'news', hidden: ''}, this.newsTold, this.makeSorter());
    place.append(this.bar, this.told, this.list, this.news);
    this.touched = false; // whether somebody is at work here
    for (const kind of ['pointerdown', 'pointermove', 'wheel']) {
      place.addEventListener(kind, event => {
        // What is laid out anew under a pointer that rests is no move of it.
        if (kind !== 'pointermove' || event.movementX || event.movementY) this.touched = true;
      }, {capture: true, passive: true});
    }
    this.arriving = new IntersectionObserver(seen => {
      for (const {isIntersecting, target} of seen) if (isIntersecting) this.load(target);
    }, {rootMargin: '400px'});
  }

  makeBar() {
    const order = made('select', {id: 'order'}, made('option', {value: 'best'}, 'best first'), made('option', {value: 'time'}, 'by time'),
      made('option', {value: 'name'}, 'by name'));
    order.addEventListener('change', () => this.set('order', order.value));
    const least = made('input', {id: 'least', type: 'range', min: 0, max: 100, step: 1, value: 0});
    const leastTold = made('output', {}, '0 %');
    least.addEventListener('input', () => {
      leastTold.textContent = `${least.value} %`;
      this.set('least', Number(least.value) / 100);
    });
    const parts = [
      made('label', {for: 'order'}, 'Order'), order, made('label', {for: 'least'}, 'In focus, at least ', leastTold), least,
      this.makeBox('hideShaken', 'Hide what is shaken'),
    ];
    const choosing = made('input', {type: 'checkbox', id: 'choosing'});
    choosing.addEventListener('change', () => { this.choosing = choosing.checked; });
    const compare = made('button', {type: 'button', id: 'compare'}, 'Compare');
    compare.addEventListener('click', () => this.compare());
    if (this.act.rate) parts.push(this.makeBox('hideRejected', 'Hide what is rejected'));
    parts.push(made('label', {}, choosing, ' Choose for comparing'), compare);
    return made('div', {id: 'sorting', role: 'group', 'aria-label': 'What is listed'}, ...parts);
  }

  makeSorter() {
    const button = made('button', {type: 'button'}, 'Sort again ', made('kbd', {}, 'R'));
    button.addEventListener('click', () => this.arrange(true));
    return button;
  }

  makeBox(name, words) {
    const box = made('input', {type: 'checkbox'});
    box.addEventListener('change', () => this.set(name, box.checked));
    return made('label', {}, box, ` ${words}`);
  }

  set(name, value) {
    this.settings[name] = value;
    this.arrange(true);
  }

  update(frames) {
    this.frames = frames;
    for (const frame of frames) {
      const cell = this.cells.get(frame.index) ?? this.makeCell(frame);
      this.fill(cell, frame);
    }
    this.arrange();
  }

  makeCell(frame) {
    const picture = made('img', {alt: '', decoding: 'async'});
    const words = made('span', {class: 'words'});
    const stars = made('span', {class: 'stars'});
    const cell = made('button', {class: 'frame', type: 'button'}, picture, made('span', {class: 'name'}, frame.name), stars, words);
    Object.assign(cell, {picture, words, stars, index: frame.index});
    cell.addEventListener('click', event => {
      if (this.choosing || event.shiftKey || event.ctrlKey || event.metaKey) this.choose(frame.index);
      else this.act.open(frame.index);
    });
    this.cells.set(frame.index, cell);
    this.arriving.observe(cell);
    return cell;
  }

  fill(cell, frame) {
    cell.frame = frame;
    const words = inWords(frame);
    if (cell.words.textContent !== words) cell.words.textContent = words;
    cell.stars.textContent = starsOf(frame.rating);
    cell.classList.toggle('rejected', frame.rating === -1);
    cell.classList.toggle('chosen', this.chosen.has(frame.index));
    cell.setAttribute('aria-pressed', String(this.chosen.has(frame.index)));
    const rated = frame.rating === -1 ? ', rejected' : frame.rating ? `, ${frame.rating} of 5 stars` : '';
    cell.setAttribute('aria-label', `${frame.name}: ${words}${rated}`);
  }

  async load(cell) {
    this.arriving.unobserve(cell);
    const name = this.carrier.served ? 'preview' : 'photograph';
    try {
      cell.picture.src = URL.createObjectURL(await this.carrier.picture(cell.index, name));
    } catch (error) {
      cell.words.textContent = error.message;
    }
  }

  // Put the frames in order, those of one burst together. From the first move of a hand on, what is read meanwhile moves no
  // frame away: it is sorted in when that is asked for (`again`).
  arrange(again = false) {
    const wanted = this.sorted(), held = this.touched && !again && this.layout !== undefined;
    const groups = held ? this.asBefore() : wanted;
    if (!held) this.known = new Map(this.frames.map(frame => [frame.index, readingOf(frame)]));
    this.shown = groups.flat();
    this.tell();
    this.news.hidden = layoutOf(groups) === layoutOf(wanted);
    if (!this.news.hidden) {
      const fresh = this.frames.filter(frame => this.known.get(frame.index) !== readingOf(frame)).length;
      this.newsTold.textContent = `${fresh} new ${fresh === 1 ? 'reading' : 'readings'}`;
    }
    const layout = layoutOf(groups);
    if (layout !== this.layout) this.lay(groups);
    this.layout = layout;
  }

  isHidden(frame) {
    const {least, hideRejected, hideShaken} = this.settings;
    return (frame.in_focus ?? 1) < least || hideRejected && frame.rating === -1 || hideShaken && frame.shaken;
  }

  // The frames as they should be: bursts, each a list.
  sorted() {
    const by = {
      best: (a, b) => sharpest(b) - sharpest(a) || a.index - b.index,
      time: (a, b) => (a.time ?? Number.MAX_VALUE) - (b.time ?? Number.MAX_VALUE) || a.index - b.index, // unknown times last
      name: (a, b) => a.name.localeCompare(b.name, undefined, {numeric: true}),
    }[this.settings.order];
    const bursts = new Map();
    for (const frame of this.frames.filter(one => !this.isHidden(one)).sort(by)) {
      const key = frame.burst ?? `alone ${frame.index}`;
      if (!bursts.has(key)) bursts.set(key, []);
      bursts.get(key).push(frame);
    }
    return [...bursts.values()];
  }

  // The frames as they are laid out, but for what has been rejected since and is to be hidden.
  asBefore() {
    const latest = new Map(this.frames.map(frame => [frame.index, frame]));
    const groups = this.groups.map(group => group.map(frame => latest.get(frame.index)));
    if (!this.settings.hideRejected) return groups;
    return groups.map(group => group.filter(frame => frame.rating !== -1)).filter(group => group.length);
  }

  lay(groups) {
    const focused = document.activeElement; // a cell loses the focus when it is put elsewhere
    this.groups = groups;
    const parts = [];
    let loose = [];
    const close = () => {
      if (loose.length) parts.push(made('div', {class: 'frames'}, ...loose));
      loose = [];
    };
    for (const burst of groups) {
      const cells = burst.map(frame => this.cells.get(frame.index));
      if (burst.length === 1) {
        loose.push(...cells);
        continue;
      }
      close();
      parts.push(made('section', {class: 'burst', 'aria-label': `Burst of ${burst.length}`},
        made('h2', {}, `Burst of ${burst.length}`), made('div', {class: 'frames'}, ...cells)));
    }
    close();
    // Frames change places while one looks at others: only people and keys move the list.
    const {scrollTop} = this.place;
    this.list.replaceChildren(...parts);
    if (this.list.contains(focused)) focused.focus({preventScroll: true});
    this.place.scrollTop = scrollTop;
  }

  tell() {
    const done = this.frames.filter(frame => frame.state === 'done' || frame.state === 'failed').length;
    const hidden = this.frames.length - this.shown.length;
    this.told.textContent = [
      `${this.frames.length} photographs`, done < this.frames.length ? `${done} read so far` : '', hidden ? `${hidden} hidden` : '',
    ].filter(Boolean).join(', ');
  }

  choose(index) {
    if (!this.chosen.delete(index) && this.chosen.size < MOST_COMPARED) this.chosen.add(index);
    const cell = this.cells.get(index);
    this.fill(cell, cell.frame);
  }

  get current() {
    return document.activeElement?.frame ?? null;
  }

  focusOn(index) {
    (this.cells.get(index) ?? this.list.querySelector('.frame'))?.focus();
  }

  // Those to compare: what is chosen, or the burst of the current frame, the best of it first.
  toCompare() {
    if (this.chosen.size > 1) return this.shown.map(frame => frame.index).filter(index => this.chosen.has(index));
    const {current} = this;
    if (!current) return [];
    const burst = this.burstOf(current, this.shown);
    return burst.length > 1 ? burst.map(frame => frame.index) : [];
  }

  burstOf({burst}, frames = this.frames) {
    return frames.filter(frame => frame.burst !== undefined && frame.burst !== null && frame.burst === burst);
  }

  compare() {
    const wanted = this.toCompare();
    if (wanted.length > 1) this.act.compare(wanted);
    else this.told.textContent = 'Choose two to four photographs, or one of a burst, to compare.';
  }

  // Returns whether the key meant something here.
  key(event) {
    const {current} = this, key = event.key.toLowerCase();
    this.touched = true;
    const across = {arrowright: 1, arrowleft: -1}[key], down = {arrowdown: 1, arrowup: -1}[key];
    if ((across || down) && !event.target.matches('input, select')) {
      if (down && current) {
        this.beside(document.activeElement, down)?.focus();
        return true;
      }
      const at = this.shown.findIndex(frame => frame.index === current?.index);
      const next = this.shown[clamp(at + (across ?? 1), 0, this.shown.length - 1)];
      if (next) this.focusOn(next.index);
      return true;
    }
    if (event.target.matches('select, input[type=range]')) return false;
    if (key === 'c') {
      this.compare();
      return true;
    }
    if (key === 'r') {
      this.arrange(true);
      return true;
    }
    if (key === ' ' && current) {
      this.choose(current.index);
      return true;
    }
    if (!current || !this.act.rate) return false;
    if (key === 'p' && event.shiftKey) {
      this.act.rate(current.index, 'p');
      for (const frame of this.burstOf(current)) if (frame.index !== current.index) this.act.rate(frame.index, 'x');
      return true;
    }
    if (ratingOfKey(key) === undefined) return false;
    this.act.rate(current.index, key);
    return true;
  }

  // The cell that is nearest below (1) or above (-1); bursts have rows of their own.
  beside(cell, step) {
    const from = cell.getBoundingClientRect();
    const places = [...this.list.querySelectorAll('.frame')].map(other => ({other, box: other.getBoundingClientRect()}));
    const beyond = places.filter(({box}) => step * (box.top - from.top) > 1);
    const away = ({box}) => [Math.abs(box.top - from.top), Math.abs(box.left - from.left)];
    const nearer = (a, b) => away(a)[0] - away(b)[0] || away(a)[1] - away(b)[1];
    return beyond.sort(nearer)[0]?.other;
  }
}

// P keeps, X rejects, U takes a rating back, and 0 to 5 are stars; undefined for other keys.
export function ratingOfKey(key, before) {
  if (key === 'p') return Math.max(before ?? 0, 1);
  if (key === 'x') return -1;
  if (key === 'u') return 0;
  return /^[0-5]$/.test(key) ? Number(key) : undefined;
}

export function starsOf(rating) {
  return rating === -1 ? '✕' : '★'.repeat(rating ?? 0);
}

// What "best first" goes by, as `defocus rank` does: the share in focus, and what was shaken after all others.
function sharpest(frame) {
  const share = frame.in_focus ?? null;
  if (share === null) return -2;
  return frame.shaken ? share - 2 : share;
}

// What the place of a frame goes by, and nobody has said.
function readingOf({in_focus, shaken, burst, time}) {
  return JSON.stringify([in_focus ?? null, shaken ?? false, burst ?? null, time ?? null]);
}

function layoutOf(groups) {
  return groups.map(group => group.map(frame => frame.index).join()).join(';');
}

function inWords(frame) {
  if (frame.state === 'failed') return frame.error;
  if (frame.state !== 'done') return frame.state === 'reading' ? 'reading …' : 'waiting';
  const share = frame.in_focus === null || frame.in_focus === undefined ? '' : `${Math.round(100 * frame.in_focus)} % in focus`;
  return [frame.words || share, ...frame.warnings ?? []].filter(Boolean).join('; ');
}

// Two to four photographs side by side, moved together. The first is the champion and stays where it is.
// `act` has open(index), rate(index, key) or null, and complain(error).
export class Comparison {
  constructor(page, carrier, act) {
    const place = made('div', {class: 'panes', tabindex: 0, role: 'group', 'aria-label': 'Photographs, moved together'});
    Object.assign(this, {place, carrier, act, panes: [], queue: []});
    const button = (words, key, does) => {
      const one = made('button', {type: 'button'}, words, ' ', made('kbd', {}, key));
      one.addEventListener('click', () => Promise.resolve(does()).catch(act.complain));
      return one;
    };
    const rate = key => act.rate(this.challenger.index, key);
    page.append(place, made('div', {class: 'deciding', role: 'group', 'aria-label': 'The challenger, on the right'},
      button('100 %', 'Z', () => this.toggleFullSize()), button('Next challenger', '→', () => this.next()),
      button('Challenger wins', '↑', () => this.next(true)), button('Open the champion', 'Enter', () => act.open(this.champion.index)),
      ...act.rate ? [button('Keep the challenger', 'P', () => rate('p')), button('Reject the challenger', 'X', () => rate('x'))] : []));
    onGestures(place, {
      drag: (dx, dy) => this.move(dx, dy),
      pinch: factor => this.zoomBy(factor),
      wheel: deltaY => this.zoomBy(Math.exp(-deltaY * 0.002)),
    });
    new ResizeObserver(() => this.draw()).observe(place);
  }

  // Shows the first four at most; the others are challengers that come in turn.
  async show(frames) {
    const together = Math.min(frames.length, frames.length > MOST_COMPARED ? 2 : MOST_COMPARED);
    this.queue = frames.slice(together);
    this.zoom = null; // all of it
    this.shift = [0, 0];
    this.panes.forEach(pane => pane.close());
    this.panes = frames.slice(0, together).map(frame => new Pane(frame, this.carrier));
    this.place.replaceChildren(...this.panes.map(pane => pane.element));
    this.place.focus();
    await Promise.all(this.panes.map(pane => pane.load().finally(() => this.draw())));
  }

  get challenger() {
    return this.panes.at(-1)?.frame;
  }

  get champion() {
    return this.panes[0]?.frame;
  }

  // The next one comes to the right; the champion stays. `wins`: the challenger becomes the champion.
  async next(wins = false) {
    if (wins) this.panes.unshift(this.panes.pop());
    const frame = this.queue.shift();
    if (frame) {
      const leaving = this.panes.pop();
      this.queue.push(leaving.frame);
      leaving.close();
      const pane = new Pane(frame, this.carrier);
      this.panes.push(pane);
      await pane.load();
    }
    this.place.replaceChildren(...this.panes.map(pane => pane.element));
    this.draw();
  }

  move(dx, dy) {
    const ratio = devicePixelRatio;
    this.shift = [this.shift[0] - dx * ratio / (this.zoom ?? this.fitting()), this.shift[1] - dy * ratio / (this.zoom ?? this.fitting())];
    this.draw();
  }

  zoomBy(factor) {
    this.zoom = clamp((this.zoom ?? this.fitting()) * factor, this.fitting() * 0.5, 8);
    this.draw();
  }

  fitting() {
    return Math.min(...this.panes.map(pane => pane.fitting()));
  }

  // 100 % at one place of all: the champion's focus point, or where it is sharpest.
  toggleFullSize() {
    this.zoom = this.zoom === 1 ? null : 1;
    this.shift = [0, 0];
    this.draw();
  }

  draw() {
    const look = this.panes.find(pane => pane.frame.look)?.frame.look;
    for (const pane of this.panes) pane.draw(this.zoom, this.shift, look);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.panes.forEach(pane => pane.askForDetail().catch(error => pane.say(error.message))), AT_REST);
  }

  // What is known of the frames now.
  update(frames) {
    const latest = frame => frames.find(one => one.index === frame.index) ?? frame;
    this.queue = this.queue.map(latest);
    for (const pane of this.panes) {
      pane.frame = latest(pane.frame);
      pane.say();
    }
  }
}

class Pane {
  constructor(frame, carrier) {
    Object.assign(this, {frame, carrier, detail: null, fault: ''});
    this.canvas = made('canvas', {role: 'img', 'aria-label': `${frame.name}: ${inWords(frame)}`});
    this.words = made('figcaption', {});
    this.element = made('figure', {class: 'pane'}, this.canvas, this.words);
    this.say();
  }

  say(fault = this.fault) {
    this.fault = fault;
    this.words.textContent = [starsOf(this.frame.rating), this.frame.name, fault || inWords(this.frame)].filter(Boolean).join(' · ');
  }

  async load() {
    try {
      this.picture = await createImageBitmap(await this.carrier.picture(this.frame.index, 'photograph'));
    } catch (error) { // the others are compared all the same
      this.say(error.message);
    }
  }

  close() {
    this.picture?.close();
    this.detail?.picture.close();
    this.picture = this.detail = null;
  }

  get size() {
    return [this.frame.width ?? this.picture.width, this.frame.height ?? this.picture.height];
  }

  fitting() {
    if (!this.picture) return 1;
    return Math.min(this.canvas.clientWidth * devicePixelRatio / this.size[0], this.canvas.clientHeight * devicePixelRatio / this.size[1]);
  }

  draw(zoom, shift, look) {
    if (!this.picture) return;
    const {canvas} = this, [width, height] = this.size, used = zoom ?? this.fitting();
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    const [u, v] = zoom === null ? [0.5, 0.5] : [look?.x ?? 0.5, look?.y ?? 0.5];
    const middle = [u * width + shift[0], v * height + shift[1]];
    Object.assign(this, {middle, used});
    this.paste(this.picture, [0, 0, width, height]);
    if (this.detail) this.paste(this.detail.picture, this.detail.box);
  }

  // Draw a picture of a part of the photograph: left, top, right, bottom.
  paste(picture, [left, top, right, bottom]) {
    const {canvas, middle, used} = this;
    canvas.getContext('2d').drawImage(picture, canvas.width / 2 + (left - middle[0]) * used, canvas.height / 2 + (top - middle[1]) * used,
      (right - left) * used, (bottom - top) * used);
  }

  async askForDetail() {
    if (!this.picture || !this.carrier.served || !isTooCoarse(this.picture, this.used, this.size)) return;
    const room = [this.canvas.width, this.canvas.height], box = partInView(this.middle, this.used, room, this.size);
    if (this.detail?.box.join() === box.join()) return;
    const blob = await this.carrier.crop(this.frame.index, box, Math.max(...room));
    const picture = await createImageBitmap(blob);
    this.detail?.picture.close();
    this.detail = {box, picture};
    this.paste(picture, box);
  }
}

// An element with attributes and what is in it; texts are texts.
function made(kind, attributes, ...children) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
