// Draws the committed dashboards with Grafana's UI library against a Prometheus, and saves a picture of each.
//
//   node build.mjs && node render.mjs --prometheus http://127.0.0.1:9090 --minutes 15 --scrape 2 --out out/
import { readFile, mkdir, readdir } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { parseArgs } from 'node:util';
import puppeteer from 'puppeteer-core';

const { values: given } = parseArgs({
  options: {
    prometheus: { type: 'string', default: 'http://127.0.0.1:9090' },
    boards: { type: 'string', default: new URL('../../dashboards/generated/', import.meta.url).pathname },
    out: { type: 'string', default: 'out' },
    minutes: { type: 'string', default: '15' },
    scrape: { type: 'string', default: '15' },
    width: { type: 'string', default: '1500' },
    browser: { type: 'string', default: '/usr/bin/chromium' },
  },
});

const built = Object.fromEntries(
  await Promise.all(['page.js', 'page.css'].map(async (name) => [`/${name}`, await readFile(new URL(`build/${name}`, import.meta.url))]))
);
const html = '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css"><body style="margin:0"><div id="page"></div><script src="/page.js"></script>';

const server = createServer((asked, answer) => {
  if (asked.url.startsWith('/api/')) {
    request(new URL(asked.url, given.prometheus), (found) => {
      answer.writeHead(found.statusCode, { 'content-type': 'application/json' });
      found.pipe(answer);
    }).on('error', (error) => answer.writeHead(502).end(JSON.stringify({ status: 'error', error: error.message }))).end();
  } else if (built[asked.url]) {
    answer.writeHead(200, { 'content-type': asked.url.endsWith('.js') ? 'text/javascript' : 'text/css' }).end(built[asked.url]);
  } else {
    answer.writeHead(200, { 'content-type': 'text/html' }).end(html);
  }
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const to = Math.floor(Date.now() / 1000);
const seconds = Math.round(60 * Number(given.minutes));
const scrape = Number(given.scrape);
const range = { from: to - seconds, to, step: Math.max(scrape, Math.ceil(seconds / 300)), scrape };
const width = Number(given.width);

await mkdir(given.out, { recursive: true });
const browser = await puppeteer.launch({ executablePath: given.browser, args: ['--no-sandbox', '--force-color-profile=srgb'] });
let failed = 0;
for (const name of (await readdir(given.boards)).filter((file) => file.endsWith('.json')).sort()) {
  const board = JSON.parse(await readFile(`${given.boards}/${name}`, 'utf8'));
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.setViewport({ width, height: 900 });
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const variables = { signal: 'ongoing_requests', horizon: '60', gpus_per_replica: '1', price: '2.50' };
  const started = Date.now();
  const result = await page.evaluate((input) => window.draw(input), { board, range, variables, width });
  await page.waitForNetworkIdle({ idleTime: 300 });
  await page.evaluate(() => new Promise((drawn) => setTimeout(drawn, 500)));
  const height = await page.evaluate(() => document.body.scrollHeight);
  await page.setViewport({ width, height });
  await page.screenshot({ path: `${given.out}/${board.uid}.webp`, type: 'webp', quality: 80, fullPage: true });
  failed += errors.length;
  console.log(`${board.uid}: ${result.drawn} panels in ${Date.now() - started} ms, ${errors.length} errors, no data: ${result.empty.join('; ') || 'none'}`);
  errors.slice(0, 3).forEach((error) => console.log(`  ${error}`));
  await page.close();
}
await browser.close();
server.close();
process.exit(failed ? 1 : 0);
