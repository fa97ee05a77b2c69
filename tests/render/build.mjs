// Bundles page.tsx with Grafana's UI library into build/page.js.
import { build } from 'esbuild';

await build({
  entryPoints: ['page.tsx'],
  outfile: 'build/page.js',
  bundle: true,
  minify: true,
  format: 'iife',
  jsx: 'automatic',
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'window' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl' },
  logLevel: 'error',
});
