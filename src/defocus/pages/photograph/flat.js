// The views without WebGL: the same as `renderer.js` draws, at reduced size, on a 2-D canvas.
import {clamp, coloursOf, placeOf} from './measured.js';
import {addedBlur, sharpened} from './refocus.js';

const LONGEST = 800; // px of what is drawn
const OUTLINE = [255, 214, 0];
const STEPS = 7; // blurs between which pixels are interpolated

export class FlatRenderer {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.pixels = {};
    this.drawn = {};
  }

  get unfinished() {
    return false;
  }

  setPicture(name, picture) {
    if (name === 'detail') {
      this.detail = picture;
      return;
    }
    const scale = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
    this.width = Math.max(1, Math.round(picture.width * scale));
    this.height = Math.max(1, Math.round(picture.height * scale));
    const small = new OffscreenCanvas(this.width, this.height).getContext('2d');
    small.drawImage(picture, 0, 0, this.width, this.height);
    this.pixels[name] = small.getImageData(0, 0, this.width, this.height).data;
    if (name === 'photograph') {
      this.whole = new OffscreenCanvas(picture.width, picture.height);
      this.whole.getContext('2d').drawImage(picture, 0, 0);
    }
    this.drawn = {};
  }

  setMap(map) {
    this.map = map;
    this.colours = coloursOf(map.info);
    this.drawn = {};
  }

  setLens() {
    delete this.drawn[3];
  }

  begin() {}

  resize(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
  }

  draw(scene) {
    const {context, canvas} = this;
    const [x, y, zoom] = scene.view;
    const left = canvas.width / 2 - x * zoom, top = canvas.height / 2 - y * zoom;
    const [width, height] = scene.size.map(side => side * zoom);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.whole, left, top, width, height);
    const from = scene.split * canvas.width;
    const plain = scene.mode === 0 && !scene.outline && !scene.hatched;
    if (!plain) {
      context.save();
      context.beginPath();
      context.rect(from, 0, canvas.width - from, canvas.height);
      context.clip();
      context.drawImage(this.picture(scene), left, top, width, height);
      context.restore();
    }
    if (scene.split > 0) {
      context.fillStyle = '#fff';
      context.fillRect(from - 1, 0, 2, canvas.height);
    }
    if (scene.marker) {
      context.beginPath();
      context.arc(left + scene.marker[0] * zoom, top + scene.marker[1] * zoom, 11, 0, 7);
      context.lineWidth = 3;
      context.strokeStyle = '#000';
      context.stroke();
      context.lineWidth = 1.5;
      context.strokeStyle = '#fff';
      context.stroke();
    }
  }

  // The picture of a mode, with outline and hatching; drawn anew only where something of it has changed.
  picture(scene) {
    const outline = scene.outline && scene.mode !== 3 && [scene.grow, scene.feather, scene.border?.every];
    const key = JSON.stringify([outline, scene.hatched, scene.threshold, scene.opacity, scene.lens]);
    const before = this.drawn[scene.mode];
    if (before?.key === key) return before.picture;
    const out = new ImageData(this.width, this.height);
    if (scene.mode === 3) this.refocus(out.data, scene.lens);
    else this.tint(out.data, scene);
    this.mark(out.data, scene);
    const picture = new OffscreenCanvas(this.width, this.height);
    picture.getContext('2d').putImageData(out, 0, 0);
    this.drawn[scene.mode] = {key, picture};
    return picture;
  }

  // Index into the map of a pixel of the picture.
  placeInMap(x, y) {
    return 3 * this.placeIn(this.map, x, y);
  }

  // Number of the place of a grid, the map's or another, in which a pixel of the picture lies.
  placeIn({width, height}, x, y) {
    const column = Math.min(Math.floor((x + 0.5) / this.width * width), width - 1);
    const row = Math.min(Math.floor((y + 0.5) / this.height * height), height - 1);
    return row * width + column;
  }

  tint(out, scene) {
    const {photograph} = this.pixels, {info, values} = this.map;
    for (let y = 0, k = 0; y < this.height; y++) {
      for (let x = 0; x < this.width; x++, k += 4) {
        const m = this.placeInMap(x, y);
        const grey = 0.2126 * photograph[k] + 0.7152 * photograph[k + 1] + 0.0722 * photograph[k + 2];
        const colour = 3 * Math.round(255 * clamp(placeOf(info, 2 ** values[m]), 0, 1));
        const kept = clamp(values[m + 1] / info.guess_below, 0, 1);
        const [r, g, b] = this.colours.subarray(colour, colour + 3);
        const faded = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        [r, g, b].forEach((value, channel) => {
          const tinted = faded + kept * (value - faded);
          out[k + channel] = scene.mode === 0 ? photograph[k + channel]
            : scene.mode === 2 ? tinted : grey + scene.opacity * (tinted - grey);
        });
        out[k + 3] = 255;
      }
    }
  }

  mark(out, scene) {
    const {info, values} = this.map, limit = Math.log2(scene.threshold), {border, grow, feather} = scene;
    const inward = (x, y) => border ? border.values[this.placeIn(border, x, y)] + grow : limit - values[this.placeInMap(x, y)];
    const inside = (x, y) => inward(Math.min(x, this.width - 1), Math.min(y, this.height - 1)) > 0;
    for (let y = 0, k = 0; y < this.height; y++) {
      for (let x = 0; x < this.width; x++, k += 4) {
        if (scene.hatched && values[this.placeInMap(x, y) + 1] < info.guess_below && (x + y) % 8 < 2) {
          out.fill((x + y) % 8 ? 40 : 230, k, k + 3);
        }
        if (!scene.outline || scene.mode === 3) continue;
        if (border && Math.abs(inward(x, y)) < feather / 2) { // what the mask has in part
          OUTLINE.forEach((value, channel) => { out[k + channel] += 0.3 * (value - out[k + channel]); });
        }
        const is = inside(x, y), beside = inside(x + 1, y) !== is;
        if (!beside && inside(x, y + 1) === is) continue;
        // Dashed where the map guesses on either side.
        const sure = (u, v) => values[this.placeInMap(Math.min(u, this.width - 1), Math.min(v, this.height - 1)) + 1];
        const isGuess = Math.min(sure(x, y), sure(x + 1, y), sure(x, y + 1)) < info.guess_below;
        if (!isGuess || (beside ? y : x) % 6 >= 3) out.set(OUTLINE, k);
      }
    }
  }

  // Every pixel lies between two of a few blurred pictures. A sharp subject shines a little into what is behind it.
  refocus(out, lens) {
    const {photograph} = this.pixels, count = this.width * this.height, scale = this.width / this.map.info.width;
    const sharp = this.pixels.sharpened ?? photograph;
    const wanted = new Float32Array(count);
    const begun = new Float32Array(3 * count);
    let most = 0;
    for (let y = 0, k = 0; y < this.height; y++) {
      for (let x = 0; x < this.width; x++, k++) {
        const m = this.placeInMap(x, y), sigma = 2 ** this.map.values[m];
        wanted[k] = addedBlur(sigma, lens) * this.map.values[m + 2] * scale;
        most = Math.max(most, wanted[k]);
        const share = sharpened(sigma, lens);
        for (let c = 0; c < 3; c++) {
          begun[3 * k + c] = linear(photograph[4 * k + c]) * (1 - share) + linear(sharp[4 * k + c]) * share;
        }
      }
    }
    const sigmas = [0];
    for (let step = 1; step < STEPS; step++) sigmas.push(most * 2 ** (step - STEPS + 1));
    const pictures = sigmas.map(sigma => sigma < 0.3 ? begun : blurred(begun, this.width, this.height, sigma));
    for (let k = 0; k < count; k++) {
      let step = 1;
      while (step < STEPS - 1 && sigmas[step] < wanted[k]) step++;
      const share = most ? clamp((wanted[k] - sigmas[step - 1]) / (sigmas[step] - sigmas[step - 1]), 0, 1) : 0;
      for (let c = 0; c < 3; c++) {
        out[4 * k + c] = encoded(pictures[step - 1][3 * k + c] * (1 - share) + pictures[step][3 * k + c] * share);
      }
      out[4 * k + 3] = 255;
    }
  }
}

// Three means over boxes, one after another, which come close to a Gaussian.
function blurred(pixels, width, height, sigma) {
  const radius = Math.max(1, Math.round((Math.sqrt(4 * sigma * sigma + 1) - 1) / 2));
  let now = pixels;
  for (let pass = 0; pass < 3; pass++) {
    now = means(means(now, width, height, 3, 3 * width, radius), height, width, 3 * width, 3, radius);
  }
  return now;
}

// Means along lines: `length` pixels of a line are `step` apart, and its neighbours `apart`.
function means(pixels, length, lines, step, apart, radius) {
  const out = new Float32Array(pixels.length);
  for (let line = 0; line < lines; line++) {
    for (let c = 0; c < 3; c++) {
      const first = line * apart + c;
      const at = k => pixels[first + step * clamp(k, 0, length - 1)];
      let sum = 0;
      for (let k = -radius; k <= radius; k++) sum += at(k);
      for (let k = 0; k < length; k++) {
        out[first + step * k] = sum / (2 * radius + 1);
        sum += at(k + radius + 1) - at(k - radius);
      }
    }
  }
  return out;
}

function linear(value) {
  const v = value / 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
}

function encoded(v) {
  return 255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);
}
