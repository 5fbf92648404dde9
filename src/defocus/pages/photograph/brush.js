// A brush for places where the map is wrong: what was painted, and what is being painted.
import {together} from './strokes.js';

const COLOURS = {sharp: '#fde725', blurred: '#4ea1ff', like: '#35d07f'};

export class Brush {
  constructor() {
    this.kind = null; // "sharp", "blurred" or "like"; null paints nothing
    this.radius = 20; // px of the photograph
    this.begin([]);
  }

  // Begin with strokes that are kept already. `place` is what a stroke of kind "like" is like.
  begin(strokes) {
    this.goBackTo(strokes);
    this.now = null;
    this.place = null;
    this.placed = false;
  }

  // Take away what was painted since these were kept, but for the stroke that is being painted.
  goBackTo(strokes) {
    this.base = strokes;
    this.strokes = [...strokes];
    this.undone = [];
  }

  // Go on from strokes that are kept now, with what was painted since.
  goOnFrom(strokes) {
    this.strokes = together(this.base, strokes, this.strokes);
    this.base = strokes;
  }

  get ready() {
    return this.kind !== null && (this.kind !== 'like' || this.place !== null);
  }

  press(x, y) {
    this.now = {kind: this.kind, radius: this.radius, points: [[x, y]], ...this.kind === 'like' && {place: this.place}};
  }

  // Points closer than a quarter of the brush say nothing new.
  move(x, y) {
    const [u, v] = this.now.points.at(-1);
    if (Math.hypot(x - u, y - v) >= this.radius / 4) this.now.points.push([x, y]);
  }

  release() {
    if (!this.now) return;
    this.strokes.push(this.now);
    this.undone = [];
    this.now = null;
  }

  undo() {
    return this.take(this.strokes, this.undone);
  }

  redo() {
    return this.take(this.undone, this.strokes);
  }

  take(from, to) {
    if (!from.length) return false;
    to.push(from.pop());
    return true;
  }

  // Draw the stroke that is being painted, and the brush's rim at `cursor`. `view` turns a place into canvas px.
  draw(context, view, zoom, cursor) {
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    if (this.kind === null) return;
    context.strokeStyle = context.fillStyle = COLOURS[this.kind];
    if (this.now) {
      context.globalAlpha = 0.5;
      context.lineCap = context.lineJoin = 'round';
      context.lineWidth = 2 * this.now.radius * zoom;
      context.beginPath();
      this.now.points.forEach(([x, y], k) => context[k ? 'lineTo' : 'moveTo'](...view(x, y)));
      context.lineTo(...view(...this.now.points.at(-1)));
      context.stroke();
      context.globalAlpha = 1;
    }
    const ring = ([x, y], radius) => {
      for (const [width, colour] of [[4, '#000'], [2, COLOURS[this.kind]]]) {
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.beginPath();
        context.arc(...view(x, y), radius, 0, 7);
        context.stroke();
      }
    };
    if (cursor) ring(cursor, Math.max(this.radius * zoom, 2));
    if (this.kind === 'like' && this.place) ring(this.place, 6);
  }
}
