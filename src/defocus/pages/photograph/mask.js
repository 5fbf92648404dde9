// What is in focus as a mask, grown or shrunk and with soft borders; as the package's own masks are made.

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
  const values = new Float32Array(inside.length);
  for (let k = 0; k < values.length; k++) {
    values[k] = Math.max(-FARTHEST, Math.min(FARTHEST, scale * (inside[k] ? toOutside[k] - 0.5 : 0.5 - toInside[k])));
  }
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
  const {width, height} = border ?? map, every = border?.every ?? 1, limit = Math.log2(threshold), {values} = map;
  const limitOfGuess = map.info.guess_below;
  const place = (x, y) => 3 * every * (y * map.width + x);
  const inside = (x, y) => border ? border.values[y * width + x] + grow > 0 : values[place(x, y)] < limit;
  const guess = (x, y) => values[place(x, y) + 1] < limitOfGuess;
  let area = 0, guessedArea = 0, crossed = 0, guessedCrossed = 0;
  const cross = (is, unsure, x, y) => {
    if (x >= width || y >= height || inside(x, y) === is) return;
    crossed++;
    if (unsure || guess(x, y)) guessedCrossed++;
  };
  for (let y = 0; y < height; y += 3) {
    for (let x = 0; x < width; x++) {
      const is = inside(x, y), unsure = guess(x, y);
      if (is) {
        area++;
        if (unsure) guessedArea++;
      }
      cross(is, unsure, x + 1, y);
      cross(is, unsure, x, y + 1);
    }
  }
  return {area: area ? guessedArea / area : 0, outline: crossed ? guessedCrossed / crossed : 0};
}

// Distance of every place to the nearest one whose value is `wanted`: first within the columns, then along the rows, where
// the lower envelope of parabolas tells it (Felzenszwalb and Huttenlocher, Distance transforms of sampled functions, 2012).
function distances(inside, width, height, wanted) {
  const count = width * height, far = width + height;
  const found = new Float32Array(count);
  for (let k = 0; k < count; k++) {
    found[k] = inside[k] === wanted ? 0 : k < width ? far : Math.min(far, found[k - width] + 1);
  }
  for (let k = count - width - 1; k >= 0; k--) if (found[k + width] + 1 < found[k]) found[k] = found[k + width] + 1;
  const line = new Float64Array(width), from = new Int32Array(width), border = new Float64Array(width + 1);
  for (let first = 0; first < count; first += width) {
    let last = 0;
    from[0] = 0;
    border[0] = -Infinity;
    border[1] = Infinity;
    for (let x = 0; x < width; x++) line[x] = found[first + x] ** 2;
    for (let x = 1; x < width; x++) {
      const own = line[x] + x * x;
      let crossing;
      do {
        const other = from[last];
        crossing = (own - line[other] - other * other) / (2 * (x - other));
      } while (crossing <= border[last] && last-- > 0);
      last++;
      from[last] = x;
      border[last] = crossing;
      border[last + 1] = Infinity;
    }
    for (let x = 0, parabola = 0; x < width; x++) {
      while (border[parabola + 1] < x) parabola++;
      const other = from[parabola];
      found[first + x] = Math.sqrt((x - other) ** 2 + line[other]);
    }
  }
  return found;
}
