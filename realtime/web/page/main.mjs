/** Starts the page. */
import { App } from './ui/app.mjs';

/** Milliseconds after which the page goes on without its service worker. */
const LONGEST_INSTALL = 5000;

const status = /** @type {HTMLElement} */ (document.getElementById('status'));
const missing = missingFeature();
if (missing) {
  status.textContent = `This browser is too old: it has no ${missing}. Use a current Chrome, Edge, Firefox or Safari.`;
} else if (await isInstalled()) {
  await new App(document).start();
}

/** @returns {string | undefined} What the page needs and the browser does not have. */
function missingFeature() {
  const features = {
    WebAssembly: 'WebAssembly' in globalThis,
    DecompressionStream: 'DecompressionStream' in globalThis,
    requestVideoFrameCallback: 'requestVideoFrameCallback' in HTMLVideoElement.prototype,
  };
  return Object.entries(features).find(([, isThere]) => !isThere)?.[0];
}

/**
 * Installs the service worker of an exported page. On the first visit the page is then loaded once more, so that all of
 * it comes through the worker: that makes it work offline, and gives it threads.
 *
 * @returns {Promise<boolean>} Whether to go on, and not to wait for the page to be loaded again.
 */
async function isInstalled() {
  const isWanted = 'offline' in document.documentElement.dataset;
  if (!isWanted || !navigator.serviceWorker || navigator.serviceWorker.controller) return true;
  const hasTried = sessionStorage.getItem('installed') !== null; // where it is blocked, the page goes on without
  if (hasTried) return true;
  sessionStorage.setItem('installed', 'yes');
  const isActive = navigator.serviceWorker
    .register('sw.js')
    .then(() => navigator.serviceWorker.ready)
    .then(
      () => true,
      () => false,
    );
  const isLate = new Promise((resolve) => setTimeout(() => resolve(false), LONGEST_INSTALL));
  if (!(await Promise.race([isActive, isLate]))) return true;
  location.reload();
  return false;
}
