// How much blur is added where: the arithmetic of `defocus.magnify`, for every way of drawing it.
//
// What is in focus has a sigma of its own, of pixels and lens, which is taken off in squares. Blurs add in squares too.
import {clamp} from './measured.js';

// `lens` is {amount, focus, inFocusSigma}: amount 1 is as taken, more is a larger aperture, less takes blur away; focus
// is the blur of the place to be in focus, beyond that of what is in focus now, or null; discRadius is the radius in px of
// the disc whose sigma is 1 px.
export function beyondFocus(sigma, inFocusSigma) {
  return Math.sqrt(Math.max(sigma * sigma - inFocusSigma * inFocusSigma, 0));
}

export function addedBlur(sigma, lens) {
  const own = beyondFocus(sigma, lens.inFocusSigma);
  if (lens.amount < 1) return 0;
  if (lens.focus === null) return Math.sqrt(lens.amount ** 2 - 1) * own;
  const wanted = lens.amount * Math.abs(own - lens.focus);
  return wanted >= 0.8 * own ? Math.sqrt(Math.max(wanted * wanted - own * own, 0)) : wanted;
}

// Whether a place has to become sharper than it is, and so begins with the sharpened photograph: 0 to 1.
export function sharpened(sigma, lens) {
  if (lens.amount < 1) return 1 - lens.amount;
  if (lens.focus === null) return 0;
  const own = beyondFocus(sigma, lens.inFocusSigma);
  return lens.amount * Math.abs(own - lens.focus) >= 0.8 * own ? 0 : 1;
}

// The largest radius in px from which blur may reach into each tile of the map.
export function reachOfBlur(map, lens) {
  const side = 16;
  const columns = Math.ceil(map.width / side), rows = Math.ceil(map.height / side);
  const pxPerTile = side * map.info.width / map.width;
  const own = new Float32Array(rows * columns);
  for (let y = 0; y < map.height; y++) {
    for (let x = 0; x < map.width; x++) {
      const k = 3 * (y * map.width + x);
      const radius = lens.discRadius * addedBlur(2 ** map.values[k], lens) * map.values[k + 2];
      const tile = Math.floor(y / side) * columns + Math.floor(x / side);
      if (radius > own[tile]) own[tile] = radius;
    }
  }
  const largest = own.reduce((most, value) => Math.max(most, value), 0);
  const far = Math.min(Math.ceil(largest / pxPerTile) + 1, 8);
  const reach = new Float32Array(rows * columns);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      let most = 0;
      for (let v = Math.max(y - far, 0); v <= Math.min(y + far, rows - 1); v++) {
        for (let u = Math.max(x - far, 0); u <= Math.min(x + far, columns - 1); u++) {
          const gap = (Math.max(Math.abs(u - x), Math.abs(v - y)) - 1) * pxPerTile;
          const radius = own[v * columns + u];
          if (radius > most && radius >= gap) most = radius;
        }
      }
      reach[y * columns + x] = most;
    }
  }
  return {columns, rows, values: reach};
}

// The slider of the aperture runs from -1 (all in focus) over 0 (as taken) to 3 (eight times as wide).
export function amountOf(position) {
  return position < 0 ? clamp(1 + position, 0, 1) : 2 ** position;
}
