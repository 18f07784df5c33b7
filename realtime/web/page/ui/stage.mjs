/** Shows the frame that was analyzed, with its faces on it, so that boxes never trail behind a running picture. */
import { colorOf, inkOn, wordsOf } from './palette.mjs';

/** @typedef {import('../core/area.mjs').Image} Image */
/** @typedef {import('../core/pipeline.mjs').Face} Face */

/** Heights of a line of text: on the screen, in its pixels; in a saved picture, as a share of its shorter side. */
const LINE = 22;
const SAVED_LINE = 1 / 22;

export class Stage {
  /** @type {Face[]} */
  #faces = [];

  /**
   * @param {HTMLCanvasElement} frame
   * @param {HTMLCanvasElement} overlay
   */
  constructor(frame, overlay) {
    this.frame = frame;
    this.overlay = overlay;
    new ResizeObserver(() => this.#draw()).observe(overlay);
  }

  /**
   * @param {Image} image
   * @param {Face[]} faces
   */
  show({ data, width, height }, faces) {
    if (this.frame.width !== width || this.frame.height !== height) {
      Object.assign(this.frame, { width, height });
      this.frame.parentElement?.style.setProperty('--ratio', String(width / height));
    }
    contextOf(this.frame).putImageData(new ImageData(data, width, height), 0, 0);
    this.#faces = faces;
    this.#draw();
  }

  /** @returns {Promise<Blob | null>} The frame with its faces, as PNG. */
  toPng() {
    const { width, height } = this.frame;
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = contextOf(canvas);
    context.drawImage(this.frame, 0, 0);
    drawFaces(context, this.#faces, 1, Math.max(12, SAVED_LINE * Math.min(width, height)));
    return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  }

  #draw() {
    const { clientWidth, clientHeight } = this.overlay;
    const width = Math.round(clientWidth * devicePixelRatio);
    const height = Math.round(clientHeight * devicePixelRatio);
    if (this.overlay.width !== width || this.overlay.height !== height) Object.assign(this.overlay, { width, height });
    const context = contextOf(this.overlay);
    context.clearRect(0, 0, width, height);
    drawFaces(context, this.#faces, width / this.frame.width, LINE * devicePixelRatio);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Face[]} faces
 * @param {number} scale Pixels of the canvas in one of the frame.
 * @param {number} line Height of a label in pixels.
 */
function drawFaces(context, faces, scale, line) {
  const { width } = context.canvas;
  const stroke = Math.max(2, line / 9);
  context.font = `600 ${Math.round(line * 0.7)}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  for (const face of faces) {
    const [x, y, w, h] = face.box.map((value) => value * scale);
    const color = colorOf(face);
    for (const [style, thickness] of /** @type {[string, number][]} */ ([['#000', 2 * stroke], [color, stroke]])) {
      context.strokeStyle = style;
      context.lineWidth = thickness;
      context.strokeRect(x, y, w, h);
    }
    const words = `${face.track}  ${wordsOf(face)}`;
    const length = context.measureText(words).width + line * 0.7;
    const left = Math.max(0, Math.min(x - stroke, width - length));
    const top = y >= line ? y - line : Math.max(0, y);
    context.fillStyle = color;
    context.fillRect(left, top, length, line);
    context.fillStyle = inkOn(color);
    context.fillText(words, left + line * 0.35, top + line / 2);
  }
}

/** @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
}
