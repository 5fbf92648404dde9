// What is in focus as a mask, grown or shrunk and with soft borders; as the package's own masks are made.

const FAR = 1e12;

// How much of every place of the map belongs to what is in focus, 0 to 1, in rows.
// `grow` px (negative shrinks) and `feather` px (the width of the border from 0 to 1) are px of the photograph.
export function maskOf(map, {threshold, grow, feather}) {
  const {width, height, values} = map, limit = Math.log2(threshold);
  const inside = new Uint8Array(width * height);
  for (let k = 0; k < inside.length; k++) inside[k] = values[3 * k] < limit ? 1 : 0;
  const scale = map.info.width / width;
  if (!grow && feather <= scale) return Float32Array.from(inside);
  const toOutside = distances(inside, width, height, 0), toInside = distances(inside, width, height, 1);
  const soft = Math.max(feather, scale);
  return Float32Array.from(inside, (is, k) => {
    const border = is ? toOutside[k] - 0.5 : 0.5 - toInside[k]; // distance to it in places of the map, inside more than 0
    return Math.min(1, Math.max(0, 0.5 + (border * scale + grow) / soft));
  });
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
