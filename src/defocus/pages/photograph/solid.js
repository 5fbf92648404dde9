// The photograph on a surface at its depth, to be turned.
import {onGestures} from './gestures.js';
import {clamp} from './measured.js';
import {programOf} from './renderer.js';

const JUMP = 1.08; // ratio of distances within a face above which it joins two things, and is cut
const YAW = 0.3, PITCH = 0.2; // limits of turning, radians: farther round there is nothing to see

const VERTICES = `#version 300 es
in vec3 point;                  // 0..1 across and down the photograph, and the distance
uniform float focal, aspect, middle, away, nearest, farthest;
uniform vec2 turn, fill;
out vec2 uv;
void main() {
  uv = point.xy;
  vec3 p = vec3((point.x - 0.5) / focal, (0.5 - point.y) * aspect / focal, -1.0) * point.z;
  p.z += middle;
  float a = cos(turn.x), b = sin(turn.x), c = cos(turn.y), d = sin(turn.y);
  p = vec3(a * p.x + b * p.z, p.y, a * p.z - b * p.x);
  p = vec3(p.x, c * p.y - d * p.z, d * p.y + c * p.z);
  float distance = middle * away - p.z;
  float low = nearest * 0.1, high = farthest * 10.0;
  float depth = (high + low - 2.0 * high * low / max(distance, 1e-6)) / (high - low);
  gl_Position = vec4(p.x * 2.0 * focal * fill.x, p.y * 2.0 * focal / aspect * fill.y, depth * distance, distance);
}`;

const FRAGMENTS = `#version 300 es
precision mediump float;
uniform sampler2D photograph;
uniform float blurred;          // 1 for what is behind the cuts, which nobody has seen
in vec2 uv;
out vec4 colour;
void main() { colour = vec4(texture(photograph, uv, 5.0 * blurred).rgb, 1.0); }`;

export class Solid {
  // `lost` is called when the graphics card has dropped all that it held, `restored` when a surface can be loaded again.
  constructor(canvas, {lost, restored}) {
    this.canvas = canvas;
    this.gl = canvas.getContext('webgl2', {antialias: true, alpha: true});
    if (!this.gl) throw new Error('This browser has no WebGL 2: the surface needs it.');
    this.program = this.compile();
    this.reset();
    onGestures(canvas, {
      drag: (dx, dy) => this.turnBy(dx * 0.004, dy * 0.004),
      pinch: factor => this.comeNearer(1 / factor),
      wheel: deltaY => this.comeNearer(Math.exp(deltaY * 0.001)),
    });
    canvas.addEventListener('dblclick', () => this.reset());
    canvas.addEventListener('webglcontextlost', event => {
      event.preventDefault(); // so that it may come back
      this.info = null;
      lost();
    });
    canvas.addEventListener('webglcontextrestored', () => {
      this.program = this.compile();
      restored();
    });
  }

  // The program, and a buffer and a texture for one surface after the other.
  compile() {
    const {gl} = this, program = programOf(gl, VERTICES, FRAGMENTS);
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    const place = gl.getAttribLocation(program, 'point');
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.enable(gl.DEPTH_TEST);
    return program;
  }

  // `nearness` is a picture of 1 / distance, from 0 (farthest) to 255 (nearest).
  load(info, photograph, nearness) {
    if (this.gl.isContextLost()) throw new Error('The graphics card does not draw now, so there is no surface: try again later.');
    const gl = this.gl, {nearest, farthest} = info.depth;
    this.info = info;
    const {width, height} = nearness;
    const context = new OffscreenCanvas(width, height).getContext('2d');
    context.drawImage(nearness, 0, 0);
    nearness.close();
    const coded = context.getImageData(0, 0, width, height).data;
    const distance = k => 1 / (1 / farthest + coded[4 * k] / 255 * (1 / nearest - 1 / farthest));
    const points = new Float32Array(3 * width * height);
    for (let k = 0; k < width * height; k++) {
      points.set([(k % width + 0.5) / width, (Math.floor(k / width) + 0.5) / height, distance(k)], 3 * k);
    }
    const faces = [];
    for (let y = 0; y + 1 < height; y++) {
      for (let x = 0; x + 1 < width; x++) {
        const a = y * width + x, b = a + width, c = b + 1, d = a + 1;
        const away = [a, b, c, d].map(k => points[3 * k + 2]);
        if (Math.max(...away) < JUMP * Math.min(...away)) faces.push(a, b, c, a, c, d);
      }
    }
    this.count = faces.length;
    // Behind the cuts lies the photograph, blurred, at the farthest distance.
    const corners = [[0, 0], [0, 1], [1, 1], [1, 0]].flatMap(corner => [...corner, farthest * 1.02]);
    const first = width * height;
    faces.push(first, first + 1, first + 2, first, first + 2, first + 3);
    const sorted = points.filter((_, k) => k % 3 === 2).sort();
    this.middle = sorted[sorted.length >> 1];
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([...points, ...corners]), gl.STATIC_DRAW);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint32Array(faces), gl.STATIC_DRAW);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, photograph);
    gl.generateMipmap(gl.TEXTURE_2D);
  }

  turnBy(yaw, pitch) {
    this.turn = [clamp(this.turn[0] + yaw, -YAW, YAW), clamp(this.turn[1] + pitch, -PITCH, PITCH)];
    this.draw();
  }

  comeNearer(factor) {
    this.away = clamp(this.away * factor, 0.4, 3);
    this.draw();
  }

  reset() {
    this.turn = [0, 0];
    this.away = 1;
    this.draw();
  }

  resize(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.draw();
  }

  draw() {
    if (!this.info) return;
    const gl = this.gl, {canvas, info} = this, {focal, nearest, farthest} = info.depth;
    const aspect = info.height / info.width;
    const fit = 0.98 * Math.min(canvas.width / info.width, canvas.height / info.height);
    const place = name => gl.getUniformLocation(this.program, name);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    for (const [name, value] of Object.entries({focal, aspect, nearest, farthest, middle: this.middle, away: this.away})) {
      gl.uniform1f(place(name), value);
    }
    gl.uniform2f(place('turn'), ...this.turn);
    gl.uniform2f(place('fill'), fit * info.width / canvas.width, fit * info.height / canvas.height);
    gl.uniform1f(place('blurred'), 1);
    gl.drawElements(gl.TRIANGLES, 6, gl.UNSIGNED_INT, 4 * this.count);
    gl.uniform1f(place('blurred'), 0);
    gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_INT, 0);
  }
}
