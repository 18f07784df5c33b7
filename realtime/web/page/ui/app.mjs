/** The page: what its controls do, and what it shows. */
import { printable, toCsv, toJsonLines } from '../core/tables.mjs';
import { Analyst } from './analyst.mjs';
import { accuracyOf, showCard } from './card.mjs';
import { FaceList } from './faces.mjs';
import { wordsOf } from './palette.mjs';
import { count, Record } from './record.mjs';
import { SettingsForm } from './settings.mjs';
import { openCamera, openPicture, openVideo, readPicture } from './sources.mjs';
import { Stage } from './stage.mjs';
import { Strip } from './strip.mjs';

/** @typedef {import('../core/pipeline.mjs').Face} Face */
/** @typedef {import('./sources.mjs').Frame} Frame */
/** @typedef {import('./sources.mjs').Source} Source */

/** More threads than this wait for each other. */
const MOST_THREADS = 4;

export class App {
  #analyst = new Analyst((...progress) => this.#onProgress(...progress));
  #record = new Record();
  #model = '';
  /** What is running now, and ends when it is told to. */
  #running = new AbortController();
  /** @type {Promise<void>} */
  #ended = Promise.resolve();
  /** @type {(() => void) | null} Set while paused. */
  #resume = null;
  /** @type {Map<string, { loaded: number, total: number }>} */
  #downloads = new Map();
  /** @type {number[]} When the last frames were done, in milliseconds. */
  #times = [];

  /** @param {Document} page */
  constructor(page) {
    /**
     * @template {keyof HTMLElementTagNameMap} Name
     * @param {Name} name
     * @param {string} id
     */
    const get = (name, id) => /** @type {HTMLElementTagNameMap[Name]} */ (page.querySelector(`${name}#${id}`));
    this.ui = {
      status: get('p', 'status'),
      progress: get('progress', 'progress'),
      speed: get('p', 'speed'),
      hint: get('p', 'hint'),
      none: get('p', 'none'),
      kept: get('p', 'kept'),
      model: get('span', 'model'),
      card: get('dl', 'card'),
      accuracy: get('p', 'accuracy'),
      camera: get('button', 'camera'),
      pause: get('button', 'pause'),
      stop: get('button', 'stop'),
      csv: get('button', 'csv'),
      jsonl: get('button', 'jsonl'),
      snapshot: get('button', 'snapshot'),
      clear: get('button', 'clear'),
      files: get('input', 'files'),
      mirror: get('input', 'mirror'),
      rest: get('button', 'rest'),
      portraits: get('input', 'portraits'),
      cameras: get('select', 'cameras'),
    };
    this.stage = new Stage(get('canvas', 'frame'), get('canvas', 'overlay'));
    this.faces = new FaceList(get('ol', 'faces'));
    this.strip = new Strip(get('ol', 'strip'), (file) => this.#openFiles([file]));
    const input = (/** @type {string} */ id) => get('input', id);
    this.settings = new SettingsForm(input, get('select', 'resting'), () => this.#configure());
    this.#listen(page);
  }

  /** Loads everything. */
  async start() {
    const cores = navigator.hardwareConcurrency || 1;
    const threads = crossOriginIsolated ? Math.min(MOST_THREADS, Math.max(1, cores - 1)) : 1;
    try {
      this.#useCard(await this.#analyst.load({ threads, settings: this.settings.values }));
    } catch (error) {
      this.ui.progress.hidden = true;
      return this.#fail(error);
    }
    this.ui.progress.hidden = true;
    this.ui.speed.textContent = '';
    this.ui.camera.disabled = this.ui.files.disabled = false;
    const slow = crossOriginIsolated ? '' : ' The host does not isolate this page, so it runs on one thread, slowly.';
    this.#say(`Ready.${slow}`);
  }

  /** @param {Document} page */
  #listen(page) {
    const { ui } = this;
    ui.camera.addEventListener('click', () => this.#startCamera());
    ui.cameras.addEventListener('change', () => this.#startCamera());
    ui.pause.addEventListener('click', () => this.#pause(this.#resume === null));
    ui.stop.addEventListener('click', () => this.#stop());
    ui.files.addEventListener('change', () => this.#openFiles([...(ui.files.files ?? [])]));
    ui.csv.addEventListener('click', () => save(new Blob([toCsv(this.#record.entries)], { type: 'text/csv' }), 'faces.csv'));
    ui.jsonl.addEventListener('click', () => {
      save(new Blob([toJsonLines(this.#record.entries)], { type: 'application/jsonl' }), 'faces.jsonl');
    });
    ui.snapshot.addEventListener('click', async () => {
      const picture = await this.stage.toPng();
      if (picture) save(picture, 'faces.png');
    });
    ui.clear.addEventListener('click', () => {
      this.#record.clear();
      this.#showRecord();
    });
    ui.rest.addEventListener('click', () => this.#analyst.takeRest());
    ui.portraits.addEventListener('change', () => this.#takeRestFrom([...(ui.portraits.files ?? [])]));
    page.addEventListener('dragover', (event) => event.preventDefault());
    page.addEventListener('drop', (event) => {
      event.preventDefault();
      this.#openFiles([...(event.dataTransfer?.files ?? [])]);
    });
    page.addEventListener('paste', (event) => this.#openFiles([...(event.clipboardData?.files ?? [])]));
  }

  async #configure() {
    try {
      await this.#analyst.configure(this.settings.values);
      if (this.ui.status.classList.contains('error')) this.#say('');
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {File[]} files Pictures of one person at rest; none ends it. */
  async #takeRestFrom(files) {
    try {
      const pictures = files.map((file) => readPicture(file, printable(file.name)));
      await this.#analyst.rest(await Promise.all(pictures));
      this.#say(files.length ? 'All faces are taken for this person’s now.' : 'No face is taken for that person’s.');
    } catch (error) {
      this.ui.portraits.value = '';
      this.#fail(error);
    }
  }

  /**
   * @param {string} name
   * @param {number} loaded
   * @param {number} total
   */
  #onProgress(name, loaded, total) {
    this.#downloads.set(name, { loaded, total });
    const downloads = [...this.#downloads.values()];
    const [done, all] = /** @type {const} */ (['loaded', 'total']).map((key) =>
      downloads.reduce((sum, each) => sum + each[key], 0),
    );
    const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(1);
    if (downloads.every((each) => each.total)) this.ui.progress.value = done / all;
    this.ui.speed.textContent = `${megabytes(done)} MB${all ? ` of ${megabytes(all)}` : ''}`;
  }

  async #startCamera() {
    const signal = await this.#takeTurn();
    this.#say('Opening the camera …');
    try {
      const source = await openCamera(this.ui.cameras.value, signal, () => this.ui.mirror.checked);
      const options = source.cameras.map(({ label, deviceId }, i) => new Option(label || `camera ${i}`, deviceId));
      this.ui.cameras.replaceChildren(...options);
      this.ui.cameras.value = source.deviceId;
      this.#say('The camera runs.');
      await this.#run([source], signal);
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  /** @param {File[]} files */
  async #openFiles(files) {
    this.ui.files.value = ''; // so that the same file can be chosen again
    if (!files.length || this.ui.files.disabled) return;
    const signal = await this.#takeTurn();
    const models = files.filter(({ name }) => /\.onnx$/i.test(name));
    for (const file of models) await this.#useModel(file);
    const rate = this.settings.videoRate;
    const others = files.filter((file) => !models.includes(file));
    const sources = others.map((file) => (file.type.startsWith('video/') ? openVideo(file, rate) : openPicture(file)));
    await this.#run(sources, signal);
  }

  /** @param {File} file */
  async #useModel(file) {
    try {
      this.#say(`${file.name}: starting …`);
      this.#useCard(await this.#analyst.useModel(new Uint8Array(await file.arrayBuffer())));
      this.#say(`${file.name} is used now.`);
    } catch (error) {
      this.#fail(new Error(`${file.name}: ${error instanceof Error ? error.message : error} ${this.#model} stays in use.`));
    }
  }

  /** @param {import('../core/card.mjs').Card} card */
  #useCard(card) {
    this.#model = card.name;
    this.ui.model.textContent = card.name;
    this.ui.accuracy.textContent = accuracyOf(card);
    showCard(this.ui.card, card);
  }

  /**
   * Ends what is running.
   *
   * @returns {Promise<AbortSignal>} Says when something else takes the turn.
   */
  async #takeTurn() {
    this.#running.abort();
    this.#running = new AbortController();
    const { signal } = this.#running;
    this.#pause(false);
    await this.#ended;
    return signal;
  }

  /**
   * Analyzes sources one after the other, until all are done or something else takes the turn.
   *
   * @param {Source[]} sources
   * @param {AbortSignal} signal
   */
  #run(sources, signal) {
    const run = async () => {
      for (const source of sources) {
        if (signal.aborted) break;
        this.#begin(source);
        try {
          await this.#analyze(source, signal);
        } catch (error) {
          this.#fail(error);
        }
      }
      this.#end();
    };
    return (this.#ended = run());
  }

  /** @param {Source} source */
  #begin({ name, kind }) {
    const { ui } = this;
    ui.hint.hidden = true;
    ui.stop.disabled = ui.pause.disabled = ui.rest.disabled = kind === 'picture';
    ui.progress.hidden = kind !== 'video';
    ui.progress.removeAttribute('value');
    this.#times = [];
    if (kind !== 'camera') this.#say(`${name}: analyzing …`);
  }

  #end() {
    this.ui.pause.disabled = this.ui.stop.disabled = this.ui.rest.disabled = this.ui.progress.hidden = true;
    this.#pause(false);
  }

  /**
   * @param {Source} source
   * @param {AbortSignal} signal
   */
  async #analyze(source, signal) {
    const isStill = source.kind === 'picture';
    let frames = 0;
    /** @type {Face[]} */
    let faces = [];
    await this.#analyst.reset();
    const given = source.frames(signal, () => this.#analyst.soonFree);
    for await (const frame of this.#analyst.follow(given, isStill)) {
      const { image, time, index, done } = frame;
      faces = frame.faces;
      if (!frames++) this.faces.clear();
      this.stage.show(image, faces);
      this.faces.show(faces, isStill ? null : time);
      this.ui.none.hidden = faces.length > 0;
      const isNew = !source.file || this.strip.add(source.file);
      if (isNew) this.#keep(source.name, time, index, faces);
      this.#showSpeed(frame.milliseconds);
      if (done !== undefined) this.ui.progress.value = done;
      if (this.#resume) await new Promise((resolve) => (this.#resume = () => resolve(undefined)));
      if (signal.aborted) break;
    }
    if (isStill) this.#say(`${source.name}: ${count(faces.length, 'face')}${faces.map((face) => `, ${wordsOf(face)}`).join('')}.`);
    else if (source.kind === 'video') this.#say(`${source.name}: ${count(frames, 'frame')} analyzed.`);
  }

  async #stop() {
    await this.#takeTurn();
    this.#say('Stopped.');
  }

  /** @param {boolean} isPaused */
  #pause(isPaused) {
    this.ui.pause.setAttribute('aria-pressed', String(isPaused));
    this.#resume?.();
    this.#resume = isPaused ? () => {} : null;
  }

  /**
   * @param {string} source
   * @param {number} time
   * @param {number} frame
   * @param {Face[]} faces
   */
  #keep(source, time, frame, faces) {
    const kept = faces.map(({ crop, resting, ...rest }) => rest);
    this.#record.add({ source, time, frame, model: this.#model, faces: kept });
    this.#showRecord();
  }

  #showRecord() {
    const { ui } = this;
    ui.csv.disabled = ui.jsonl.disabled = ui.clear.disabled = !this.#record.entries.length;
    ui.snapshot.disabled = false;
    ui.kept.textContent = this.#record.summary;
  }

  /** @param {number} milliseconds */
  #showSpeed(milliseconds) {
    const now = performance.now();
    this.#times.push(now);
    while (now - this.#times[0] > 2000) this.#times.shift();
    const span = (now - this.#times[0]) / 1000;
    const rate = span > 0.5 ? `${((this.#times.length - 1) / span).toFixed(1)} frames a second; ` : '';
    const { width, height } = this.stage.frame;
    this.ui.speed.textContent = `${rate}${milliseconds.toFixed(0)} ms for a frame of ${width} × ${height} pixels.`;
  }

  /** @param {string} text */
  #say(text) {
    this.ui.status.classList.remove('error');
    this.ui.status.textContent = text;
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#say(error instanceof Error ? error.message : String(error));
    this.ui.status.classList.add('error');
  }
}

/**
 * @param {Blob} content
 * @param {string} name
 */
function save(content, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
