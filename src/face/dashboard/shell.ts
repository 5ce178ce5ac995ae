/** The pages before anything is known: the same for everybody, with no data, no script and no style inside. */

export const SHELLS = ['start', 'submit', 'queue', 'job'] as const;
export type Shell = (typeof SHELLS)[number];

export interface ShellAssets {
  readonly script: string;
  readonly style: string;
  readonly icon: string;
}

const TITLES: Readonly<Record<Shell, string>> = {
  start: 'Pilotage',
  submit: 'Add a job',
  queue: 'Queue',
  job: 'Job',
};

/** The way up from each page to where the pages begin: they may be shown below a path of another server. */
const UP: Readonly<Record<Shell, string>> = { start: '', submit: '../../', queue: '../../../', job: '../../../' };

/** How to do the same without a browser that runs scripts. `…` stands for what is in the address. */
const BY_HAND: Readonly<Record<Shell, string>> = {
  start: `curl -H "Authorization: Bearer $TOKEN" SERVER/api/v1/projects/PROJECT/services`,
  submit: `curl -H "Authorization: Bearer $TOKEN" SERVER/api/v1/projects/PROJECT/services/SERVICE/form
curl -H "Authorization: Bearer $TOKEN" -F text='to be or not to be' -F structure=@1abc.pdb \\
  SERVER/api/v1/projects/PROJECT/services/SERVICE/jobs`,
  queue: `curl -H "Authorization: Bearer $TOKEN" SERVER/api/v1/projects/PROJECT/services/SERVICE/queue`,
  job: `curl SERVER/api/v1/links/PROJECT/NUMBER/SECRET
curl -OJ SERVER/api/v1/links/PROJECT/NUMBER/SECRET/results.zip`,
};

export function shellOf(shell: Shell, { script, style, icon }: ShellAssets): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${TITLES[shell]}</title>
<link rel="icon" type="image/svg+xml" href="${UP[shell]}assets/${icon}">
<link rel="stylesheet" href="${UP[shell]}assets/${style}">
<script type="module" src="${UP[shell]}assets/${script}"></script>
</head>
<body>
<div id="page"></div>
<noscript>
<main>
<h1>${TITLES[shell]}</h1>
<p>This page needs JavaScript. Without it, the same is done with <code>curl</code>; words in capitals stand for what the address of this page says:</p>
<pre>${toText(BY_HAND[shell])}</pre>
</main>
</noscript>
</body>
</html>
`;
}

function toText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
