// The map as numbers: read back from the picture that the package coded it in.

// Sigma is kept as its logarithm to the base 2; confidence and strength (how far an edit may go) are 0 to 1.
export class MeasuredMap {
  constructor(info, width, height, values) {
    this.info = info;
    this.width = width;
    this.height = height;
    this.values = values; // log2 sigma, confidence, strength, three for each place
  }

  static async decode(info, blob) {
    const bitmap = await createImageBitmap(blob, {colorSpaceConversion: 'none', premultiplyAlpha: 'none'});
    const {width, height} = bitmap;
    const context = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const coded = context.getImageData(0, 0, width, height).data;
    const [low, high] = info.coded;
    const first = Math.log2(low);
    const octaves = Math.log2(high / low);
    const values = new Float32Array(3 * width * height);
    for (let k = 0; k < width * height; k++) {
      values[3 * k] = first + coded[4 * k] / 255 * octaves;
      values[3 * k + 1] = coded[4 * k + 1] / 255;
      values[3 * k + 2] = coded[4 * k + 2] / 255;
    }
    return new MeasuredMap(info, width, height, values);
  }

  // What the map says at a place of the photograph, in its px.
  at(x, y) {
    const column = clamp(Math.floor(x / this.info.width * this.width), 0, this.width - 1);
    const row = clamp(Math.floor(y / this.info.height * this.height), 0, this.height - 1);
    const k = 3 * (row * this.width + column);
    return {sigma: 2 ** this.values[k], confidence: this.values[k + 1]};
  }

  // The median of a few px around a place, as the package takes it for a focus.
  sigmaAround(x, y) {
    const found = [];
    for (let dy = -2; dy <= 2; dy++) for (let dx = -2; dx <= 2; dx++) found.push(this.at(x + dx, y + dy).sigma);
    return found.sort((a, b) => a - b)[12];
  }

  // Fractions of what can be read that is in focus, and of the photograph that can be read. Counts as `defocus rank`.
  shares(threshold) {
    const {readable_from: readableFrom, steepness} = this.info;
    let inFocus = 0, readable = 0, seen = 0;
    for (let k = 0; k < this.values.length; k += 9) { // every third place
      seen++;
      if (this.values[k + 1] < readableFrom) continue;
      readable++;
      inFocus += 1 / (1 + (2 ** this.values[k] / threshold) ** steepness);
    }
    return {inFocus: readable ? inFocus / readable : 0, readable: readable / seen};
  }
}

// Where a sigma stands on the scale of colours, 0 to 1; and the sigma of a place.
export function placeOf(info, sigma) {
  const [low, high] = info.limits;
  return info.logarithmic ? Math.log(Math.max(sigma, 1e-9) / low) / Math.log(high / low) : (sigma - low) / (high - low);
}

export function sigmaOf(info, place) {
  const [low, high] = info.limits;
  return info.logarithmic ? low * (high / low) ** place : low + place * (high - low);
}

// Round numbers along the scale, at most about `most`.
export function ticksOf(info, most) {
  const [low, high] = info.limits;
  if (!info.logarithmic) {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
    const ticks = [];
    for (let tick = Math.ceil(low / step - 1e-6) * step; tick <= high * (1 + 1e-6); tick += step) ticks.push(tick);
    return ticks;
  }
  for (const factors of [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = -3; power <= 3; power++) {
      for (const factor of factors) {
        const tick = factor * 10 ** power;
        if (tick >= low * (1 - 1e-6) && tick <= high * (1 + 1e-6)) ticks.push(tick);
      }
    }
    if (ticks.length <= most) return ticks;
  }
  return [low, high];
}

// The colours of the scale: 256 times red, green and blue.
export function coloursOf(info) {
  return Uint8Array.from(info.colours.match(/../g), digits => parseInt(digits, 16));
}

// A sigma as people read it: three figures at most, none that mean nothing.
export function written(value) {
  return value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2);
}

export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
