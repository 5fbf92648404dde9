// Which part of a photograph is in view, and when the picture at hand is too coarse for it.
import {clamp} from './measured.js';

// Left, top, right and bottom in whole px of the photograph. `middle` is the place in the middle of the view, `zoom` the px
// of the view for each of the photograph; `room` and `size` are width and height of view and photograph.
export function partInView(middle, zoom, room, size) {
  const end = (axis, side) => middle[axis] + side * room[axis] / 2 / zoom;
  return [
    Math.floor(clamp(end(0, -1), 0, size[0] - 1)), Math.floor(clamp(end(1, -1), 0, size[1] - 1)),
    Math.ceil(clamp(end(0, 1), 1, size[0])), Math.ceil(clamp(end(1, 1), 1, size[1])),
  ];
}

// Whether one px of a picture of the whole photograph is more than one of the view, and there are finer ones.
export function isTooCoarse(picture, zoom, size) {
  return picture.width < size[0] && zoom * size[0] > picture.width * 1.05;
}
