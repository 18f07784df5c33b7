/** Draws how the probabilities of a face changed: seven bands, one above the other. */
import { CLASSES } from '../core/classes.mjs';
import { COLORS } from './palette.mjs';

/** Points that are left out because they are closer than this, in seconds, would not be seen. */
const STEP = 1 / 12;

export class Curve {
  canvas = Object.assign(document.createElement('canvas'), { width: 600, height: 80, className: 'curve' });
  seconds = 30;
  /** @type {{ time: number, probabilities: Float32Array }[]} */
  #points = [];

  /**
   * @param {number} time In seconds.
   * @param {Float32Array} probabilities
   */
  add(time, probabilities) {
    const last = this.#points.at(-1);
    if (last && time - last.time < STEP) return;
    this.#points.push({ time, probabilities });
    while (this.#points[0].time < time - this.seconds) this.#points.shift();
    this.#draw();
  }

  #draw() {
    const { width, height } = this.canvas;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d'));
    const start = Math.max(this.#points[0].time, (this.#points.at(-1)?.time ?? 0) - this.seconds);
    context.clearRect(0, 0, width, height);
    const places = this.#points.map(({ time }) => ((time - start) / this.seconds) * width);
    let below = this.#points.map(() => height);
    CLASSES.forEach((name, i) => {
      const above = this.#points.map(({ probabilities }, point) => below[point] - probabilities[i] * height);
      context.beginPath();
      above.forEach((y, point) => context.lineTo(places[point], y));
      for (let point = below.length - 1; point >= 0; point--) context.lineTo(places[point], below[point]);
      context.fillStyle = COLORS[name];
      context.fill();
      below = above;
    });
  }
}
