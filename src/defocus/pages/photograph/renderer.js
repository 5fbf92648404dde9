// The views drawn by WebGL 2. All lengths in the shaders are px of the photograph.
import {coloursOf} from './measured.js';
import {reachOfBlur} from './refocus.js';

const VERTICES = `#version 300 es
void main() {
  gl_Position = vec4(vec2((gl_VertexID << 1) & 2, gl_VertexID & 2) * 2.0 - 1.0, 0.0, 1.0);
}`;

const COMMON = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D photograph, sharpened, map;  // map: log2 sigma, confidence, strength of an edit
uniform vec2 size, target;                     // of the photograph, and of what is drawn into
uniform vec3 view;                             // px of the photograph in the middle, and target px for each of them
uniform float amount, focus, inFocusSigma;     // focus is negative where none was chosen
uniform float discRadius;                      // px, of a disc whose sigma is 1 px
vec2 placeOf(vec2 pixel) {
  return view.xy + vec2(pixel.x - target.x * 0.5, target.y * 0.5 - pixel.y) / view.z;
}
float beyondFocus(float logSigma) {
  float sigma = exp2(logSigma);
  return sqrt(max(sigma * sigma - inFocusSigma * inFocusSigma, 0.0));
}
float addedBlur(vec3 measured) {
  if (amount < 1.0) return 0.0;
  float own = beyondFocus(measured.r);
  if (focus < 0.0) return sqrt(amount * amount - 1.0) * own * measured.b;
  float wanted = amount * abs(own - focus);
  return (wanted >= 0.8 * own ? sqrt(max(wanted * wanted - own * own, 0.0)) : wanted) * measured.b;
}
float sharpenedShare(float logSigma) {
  if (amount < 1.0) return 1.0 - amount;
  if (focus < 0.0) return 0.0;
  float own = beyondFocus(logSigma);
  return amount * abs(own - focus) >= 0.8 * own ? 0.0 : 1.0;
}
vec3 before(vec2 uv, float lod) {              // what blur is added to, linear light
  float share = sharpenedShare(textureLod(map, uv, 0.0).r);
  vec3 plain = textureLod(photograph, uv, lod).rgb;
  return share == 0.0 ? plain : mix(plain, textureLod(sharpened, uv, lod).rgb, share);
}`;

// Every pixel gathers the light of the discs that reach it. What is farther lies behind what is nearer, and the more
// blurred is taken to be farther, as in \`defocus.magnify\`: it reaches over a pixel only as far as that is blurred.
const BLUR = COMMON + `
uniform sampler2D reach;
uniform float turn;
uniform int samples, aperture;
out vec4 light;
void main() {
  vec2 uv = clamp(placeOf(gl_FragCoord.xy) / size, vec2(0.0), vec2(1.0)), place = uv * size;
  float texels = float(textureSize(photograph, 0).x) / size.x;
  float finest = max(0.0, log2(texels / view.z)), least = 0.7 / view.z;
  float most = textureLod(reach, uv, 0.0).r;
  if (most < least) { light = vec4(before(uv, finest), 1.0); return; }
  float own = discRadius * addedBlur(textureLod(map, uv, 0.0).rgb);
  float spacing = most * sqrt(3.14159 / float(samples)) * texels;
  float lod = max(finest, log2(max(spacing, 1.0)) - 0.5);
  // Interleaved gradient noise (Jimenez, Next generation post processing in Call of Duty, SIGGRAPH 2014).
  float noise = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
  float angle = 6.2831853 * (turn + noise);
  float ownArea = max(own * own, 0.25);
  vec3 sum = before(uv, own < least ? finest : lod) / ownArea * 0.5;
  float weight = 0.5 / ownArea;
  for (int k = 0; k < samples; k++) {
    float r = most * sqrt((float(k) + fract(turn * 7.31 + 0.5)) / float(samples)), a = angle + float(k) * 2.39996323;
    vec2 there = clamp((place + r * vec2(cos(a), sin(a))) / size, vec2(0.0), vec2(1.0));
    float theirs = discRadius * addedBlur(textureLod(map, there, 0.0).rgb);
    float distance = r;
    if (aperture == 1) {                                       // a hexagon of the same area
      float side = abs(mod(a, 1.04719755) - 0.52359878);
      distance = r * cos(side) / 0.9093;
    }
    float reaches = theirs > own ? min(theirs, 1.3 * own) : theirs;
    float share = smoothstep(distance - least, distance + least, reaches) / max(theirs * theirs, 0.25);
    sum += share * before(there, lod);
    weight += share;
  }
  light = vec4(sum / weight, 1.0);
}`;

const SHOW = COMMON + `
uniform sampler2D blurred, detail, colours, border; // border: px inside what is in focus, where a mask has been moved
uniform vec4 detailBox;                        // left, top, right, bottom
uniform float scale, threshold, opacity, split, guessBelow, grow, feather;
uniform vec2 limits, marker;
uniform int mode;
uniform bool outline, hatched, logarithmic, hasDetail, isMoved;
out vec4 colour;
float inward(vec2 uv) {                        // more than 0 within the outline
  return isMoved ? texture(border, uv).r + grow : log2(threshold) - texture(map, uv).r;
}
vec3 encoded(vec3 v) {
  return mix(12.92 * v, 1.055 * pow(max(v, 0.0), vec3(1.0 / 2.4)) - 0.055, step(0.0031308, v));
}
void main() {
  vec2 place = placeOf(gl_FragCoord.xy), uv = place / size, px = 1.0 / (size * view.z);
  if (any(lessThan(uv, vec2(0.0))) || any(greaterThan(uv, vec2(1.0)))) { colour = vec4(0.0); return; }
  vec3 plain = texture(photograph, uv).rgb;
  if (hasDetail && all(greaterThanEqual(place, detailBox.xy)) && all(lessThan(place, detailBox.zw)))
    plain = texture(detail, (place - detailBox.xy) / (detailBox.zw - detailBox.xy)).rgb;
  bool untouched = gl_FragCoord.x < split * target.x;
  vec3 measured = texture(map, uv).rgb, shown = plain;
  if (mode == 3 && !untouched) {
    // What gets no blur stays as sharp as the photograph, however coarsely the blur is drawn.
    float share = sharpenedShare(measured.r);
    vec3 crisp = share == 0.0 ? plain : mix(plain, texture(sharpened, uv).rgb, share);
    float soft = smoothstep(0.35, 1.05, discRadius * addedBlur(measured) * view.z * scale);
    shown = mix(crisp, texture(blurred, gl_FragCoord.xy / target).rgb, soft);
  }
  shown = encoded(shown);
  if (!untouched && (mode == 1 || mode == 2)) {
    float sigma = exp2(measured.r);
    float along = logarithmic ? log(sigma / limits.x) / log(limits.y / limits.x) : (sigma - limits.x) / (limits.y - limits.x);
    vec3 tint = texture(colours, vec2(clamp(along, 0.0, 1.0) * (255.0 / 256.0) + 0.5 / 256.0, 0.5)).rgb;
    vec3 luma = vec3(0.2126, 0.7152, 0.0722);
    // Colours fade to grey where the map guesses.
    tint = mix(vec3(dot(tint, luma)), tint, clamp(measured.g / guessBelow, 0.0, 1.0));
    shown = mode == 2 ? tint : mix(vec3(dot(shown, luma)), tint, opacity);
  }
  if (hatched && !untouched && measured.g < guessBelow) {
    float line = mod(gl_FragCoord.x + gl_FragCoord.y, 12.0);
    if (line < 1.5) shown = mix(shown, vec3(1.0), 0.7); else if (line < 3.0) shown = mix(shown, vec3(0.0), 0.5);
  }
  if (outline && !untouched && mode != 3) {
    // A border is as sure as the less sure of its sides: the width of the line, or the next places of the map.
    vec2 beside = max(px * 2.6, 1.5 / vec2(textureSize(map, 0)));
    float rim = 0.0, shadow = 0.0, here = inward(uv), sure = measured.g;
    bool inside = here > 0.0;
    vec2 across = vec2(0.0);
    for (int k = 0; k < 8; k++) {
      vec2 step = vec2(cos(float(k) * 0.7853982), sin(float(k) * 0.7853982));
      if ((inward(uv + step * px * 1.2) > 0.0) != inside) rim = 1.0;
      if ((inward(uv + step * px * 2.6) > 0.0) != inside) { shadow = 1.0; across += step; }
      sure = min(sure, texture(map, uv + step * beside).g);
    }
    if (sure < guessBelow) {                                   // dashed where the map guesses
      float along = abs(across.x) > abs(across.y) ? gl_FragCoord.y : gl_FragCoord.x;
      if (mod(along, 14.0) < 6.0) { rim = 0.0; shadow *= 0.3; }
    }
    if (isMoved && abs(here) < 0.5 * feather) shown = mix(shown, vec3(1.0, 0.84, 0.0), 0.3); // what the mask has in part
    shown = mix(mix(shown, vec3(0.0), shadow * 0.75), vec3(1.0, 0.84, 0.0), rim);
  }
  if (split > 0.0 && abs(gl_FragCoord.x - split * target.x) < 1.0) shown = vec3(1.0);
  if (marker.x >= 0.0) {
    float away = abs(distance(place, marker) * view.z - 11.0);
    if (away < 1.2) shown = vec3(1.0); else if (away < 2.6) shown = vec3(0.0);
  }
  colour = vec4(shown, 1.0);
}`;

const INTEGERS = ['samples', 'mode', 'aperture', 'outline', 'hatched', 'logarithmic', 'hasDetail', 'isMoved'];
// What of the canvas is drawn at once, and from how many samples, from the finest to the quickest.
const EFFORTS = [[1, 64], [1, 32], [0.5, 48], [0.5, 24], [0.25, 24], [0.125, 16]];
const SLOW = 28, QUICK = 9; // ms in which a frame is drawn, above which less is drawn, and below which more
// Where nothing moves, passes of the whole canvas are averaged: each is short, so that the page still answers.
const SAMPLES_AT_REST = 16, PASSES = 48;
const ENOUGH = 6, PATIENCE = 2000; // passes that are always drawn, and ms of drawing after which no more are

// What a graphics card runs for every corner and every pixel, or the error that it finds in it.
export function programOf(gl, vertices, fragments) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertices], [gl.FRAGMENT_SHADER, fragments]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

export class Renderer {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext('webgl2', {alpha: true, antialias: false, preserveDrawingBuffer: true});
    if (!this.gl) throw new Error('This browser has no WebGL 2.');
    const gl = this.gl;
    this.floats = Boolean(gl.getExtension('EXT_color_buffer_float') || gl.getExtension('EXT_color_buffer_half_float'));
    this.programs = {blur: this.compile(BLUR), show: this.compile(SHOW)};
    this.textures = {};
    this.passes = 0;
    this.effort = 3;
    this.spent = 0;
    gl.bindVertexArray(gl.createVertexArray());
    const black = {width: 1, height: 1, data: new Uint8Array([0, 0, 0, 255])};
    for (const name of ['photograph', 'sharpened', 'detail']) this.setPicture(name, black);
    for (const name of ['reach', 'border']) this.setNumbers(name, 1, 1, new Float32Array(1));
  }

  compile(fragments) {
    const {gl} = this, program = programOf(gl, VERTICES, fragments), places = {};
    for (let k = 0; k < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); k++) {
      const {name} = gl.getActiveUniform(program, k);
      places[name] = gl.getUniformLocation(program, name);
    }
    return {program, places};
  }

  bind(name) {
    const gl = this.gl;
    this.textures[name] ??= gl.createTexture();
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[name]);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
  }

  // A picture in sRGB: "photograph", "sharpened" or "detail". The card reads it as linear light.
  setPicture(name, picture) {
    const gl = this.gl;
    this.bind(name);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    const kind = [gl.TEXTURE_2D, 0, gl.SRGB8_ALPHA8];
    if (picture.data) gl.texImage2D(...kind, picture.width, picture.height, 0, gl.RGBA, gl.UNSIGNED_BYTE, picture.data);
    else gl.texImage2D(...kind, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    this.passes = 0;
  }

  setNumbers(name, width, height, values) {
    const gl = this.gl, single = values.length === width * height;
    this.bind(name);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const [inside, outside] = single ? [gl.R16F, gl.RED] : [gl.RGB16F, gl.RGB];
    gl.texImage2D(gl.TEXTURE_2D, 0, inside, width, height, 0, outside, gl.FLOAT, values);
  }

  setMap(map) {
    const gl = this.gl, colours = coloursOf(map.info);
    this.map = map;
    this.setNumbers('map', map.width, map.height, map.values);
    this.bind('colours');
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, colours.length / 3, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, colours);
    this.passes = 0;
  }

  // Tells how far blur reaches, so that places where none does are quick; to be called when the lens has changed.
  setLens(lens) {
    const reach = reachOfBlur(this.map, lens);
    this.setNumbers('reach', reach.columns, reach.rows, reach.values);
    this.passes = 0;
  }

  resize(width, height) {
    if (this.canvas.width === width && this.canvas.height === height && this.frame) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.setScale(this.scale ?? 0.5);
  }

  // Size of what the blur is drawn into, as a fraction of the canvas.
  setScale(scale) {
    const gl = this.gl;
    const size = [this.canvas.width, this.canvas.height].map(side => Math.max(1, Math.round(side * scale)));
    if (this.frame && this.blurSize?.join() === size.join()) return;
    this.scale = scale;
    this.blurSize = size;
    this.bind('blurred');
    const kind = this.floats ? [gl.RGBA16F, gl.HALF_FLOAT] : [gl.RGBA8, gl.UNSIGNED_BYTE];
    gl.texImage2D(gl.TEXTURE_2D, 0, kind[0], ...size, 0, gl.RGBA, kind[1], null);
    this.frame ??= gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.textures.blurred, 0);
    this.passes = 0;
  }

  // Whether what is shown would get better by being drawn once more.
  get unfinished() {
    return this.atRest ? this.passes < (this.spent < PATIENCE ? PASSES : ENOUGH) : this.passes < 1;
  }

  // Something has changed, or has stopped changing: begin anew.
  begin(atRest) {
    this.atRest = atRest;
    this.passes = 0;
    this.spent = 0;
  }

  draw(scene) {
    const common = {
      size: scene.size, target: [this.canvas.width, this.canvas.height], view: scene.view,
      amount: scene.lens.amount, focus: scene.lens.focus ?? -1, inFocusSigma: scene.lens.inFocusSigma,
      discRadius: scene.lens.discRadius,
    };
    if (scene.mode === 3 && this.unfinished) this.blur(common, scene);
    const gl = this.gl, {border} = scene;
    if (border && border !== this.border) {
      this.setNumbers('border', border.width, border.height, border.values);
      this.border = border;
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    const info = this.map.info;
    this.run('show', ['photograph', 'sharpened', 'map', 'blurred', 'detail', 'colours', 'border'], {
      ...common, scale: this.scale, mode: scene.mode, outline: scene.outline, hatched: scene.hatched, threshold: scene.threshold,
      opacity: scene.opacity, split: scene.split, limits: info.limits, logarithmic: info.logarithmic,
      isMoved: Boolean(border), grow: scene.grow, feather: scene.feather, guessBelow: info.guess_below, marker: scene.marker ?? [-1, -1],
      hasDetail: Boolean(scene.detailBox), detailBox: scene.detailBox ?? [0, 0, 0, 0],
    });
  }

  // One more pass of the blur. Passes whose samples are turned are averaged, so that a picture at rest gets smooth.
  blur(common, scene) {
    const gl = this.gl, started = performance.now();
    const [scale, samples] = this.atRest ? [1, SAMPLES_AT_REST] : EFFORTS[this.effort];
    this.setScale(scale);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, ...this.blurSize);
    if (this.passes) {
      gl.enable(gl.BLEND);
      gl.blendColor(0, 0, 0, 1 / (this.passes + 1));
      gl.blendFunc(gl.CONSTANT_ALPHA, gl.ONE_MINUS_CONSTANT_ALPHA);
    }
    const [x, y, zoom] = common.view;
    this.run('blur', ['photograph', 'sharpened', 'map', 'reach'], {
      ...common, target: this.blurSize, view: [x, y, zoom * this.scale], samples,
      aperture: scene.aperture === 'hexagon' ? 1 : 0, turn: this.passes * 0.61803399 % 1,
    });
    gl.disable(gl.BLEND);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, this.floats ? gl.FLOAT : gl.UNSIGNED_BYTE, // waits for the card
      this.floats ? new Float32Array(4) : new Uint8Array(4));
    const took = performance.now() - started;
    this.spent += took;
    this.passes++;
    if (this.atRest) return;
    if (took > SLOW) this.effort = Math.min(this.effort + 1, EFFORTS.length - 1);
    if (took < QUICK) this.effort = Math.max(this.effort - 1, 0);
  }

  run(name, textures, uniforms) {
    const gl = this.gl, {program, places} = this.programs[name];
    gl.useProgram(program);
    textures.forEach((texture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, this.textures[texture]);
      gl.uniform1i(places[texture], unit);
    });
    for (const [uniform, value] of Object.entries(uniforms)) {
      const place = places[uniform];
      if (place === undefined) continue;
      if (INTEGERS.includes(uniform)) gl.uniform1i(place, Number(value));
      else if (Array.isArray(value)) gl[`uniform${value.length}fv`](place, value);
      else gl.uniform1f(place, value);
    }
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
