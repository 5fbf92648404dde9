// What is in focus as a mask, grown or shrunk and with soft borders; as the package's own masks are made.

const FAR = 1e12;
const FARTHEST = 30000; // px: more than any slider moves a border, and little enough for half floats
const QUICKLY = 200000; // places looked at while something moves

// How far inside what is in focus every place lies, in px of the photograph; less than 0 outside. In rows of a grid that
// is as fine as the map, or coarser where it has to be `quick`.
export function borderOf(map, threshold, quick = false) {
  const every = quick ? Math.max(1, Math.ceil(Math.sqrt(map.width * map.height / QUICKLY))) : 1;
  const width = Math.ceil(map.width / every), height = Math.ceil(map.height / every), limit = Math.log2(threshold);
  const inside = new Uint8Array(width * height);
  for (let y = 0, k = 0; y < height; y++) {
    for (let x = 0; x < width; x++, k++) inside[k] = map.values[3 * every * (y * map.width + x)] < limit ? 1 : 0;
  }
  const toOutside = distances(inside, width, height, 0), toInside = distances(inside, width, height, 1);
  const scale = every * map.info.width / map.width; // px for each place
  const values = Float32Array.from(inside, (is, k) =>
    Math.max(-FARTHEST, Math.min(FARTHEST, scale * (is ? toOutside[k] - 0.5 : 0.5 - toInside[k]))));
  return {map, threshold, every, width, height, values};
}

// Whether the mask's border is another one than where the map crosses the threshold, sharply.
export function isMoved(map, {grow, feather}) {
  return grow !== 0 || feather > map.info.width / map.width;
}

// How much of every place of the map belongs to what is in focus, 0 to 1, in rows.
// `grow` px (negative shrinks) and `feather` px (the width of the border from 0 to 1) are px of the photograph.
export function maskOf(map, {threshold, grow, feather}) {
  const {values} = borderOf(map, threshold), soft = Math.max(feather, map.info.width / map.width);
  if (!isMoved(map, {grow, feather})) return values.map(inward => inward > 0 ? 1 : 0);
  return values.map(inward => Math.min(1, Math.max(0, 0.5 + (inward + grow) / soft)));
}

// How much of what is in focus, and of its outline, is a guess: fractions, 0 to 1. As `defocus segment` counts it, on every
// third row. `border` is that of the mask, or null where it has not been moved.
export function guessesOf(map, threshold, border, grow) {
  const {width, height} = border ?? map, every = border?.every ?? 1, limit = Math.log2(threshold);
  const place = (x, y) => 3 * every * (y * map.width + x);
  const inside = (x, y) => border ? border.values[y * width + x] + grow > 0 : map.values[place(x, y)] < limit;
  const guess = (x, y) => map.values[place(x, y) + 1] < map.info.guess_below;
  let area = 0, guessedArea = 0, crossed = 0, guessedCrossed = 0;
  for (let y = 0; y < height; y += 3) {
    for (let x = 0; x < width; x++) {
      const is = inside(x, y), unsure = guess(x, y);
      if (is) {
        area++;
        if (unsure) guessedArea++;
      }
      for (const [u, v] of [[x + 1, y], [x, y + 1]]) {
        if (u >= width || v >= height || inside(u, v) === is) continue;
        crossed++;
        if (unsure || guess(u, v)) guessedCrossed++;
      }
    }
  }
  return {area: area ? guessedArea / area : 0, outline: crossed ? guessedCrossed / crossed : 0};
}

// Distance of every place to the nearest one whose value is `wanted`: Felzenszwalb and Huttenlocher, Distance
// transforms of sampled functions, 2012.
function distances(inside, width, height, wanted) {
  const squared = Float64Array.from(inside, value => value === wanted ? 0 : FAR);
  const longest = Math.max(width, height);
  const line = new Float64Array(longest), from = new Int32Array(longest), border = new Float64Array(longest + 1);
  const transform = (first, step, length) => {
    let last = 0;
    from[0] = 0;
    border[0] = -FAR;
    border[1] = FAR;
    for (let k = 0; k < length; k++) line[k] = squared[first + step * k];
    for (let k = 1; k < length; k++) {
      let crossing;
      do {
        const other = from[last];
        crossing = (line[k] + k * k - line[other] - other * other) / (2 * (k - other));
      } while (crossing <= border[last] && last-- > 0);
      last++;
      from[last] = k;
      border[last] = crossing;
      border[last + 1] = FAR;
    }
    for (let k = 0, parabola = 0; k < length; k++) {
      while (border[parabola + 1] < k) parabola++;
      const other = from[parabola];
      squared[first + step * k] = (k - other) ** 2 + line[other];
    }
  };
  for (let column = 0; column < width; column++) transform(column, width, height);
  for (let row = 0; row < height; row++) transform(row * width, 1, width);
  return squared.map(Math.sqrt);
}
