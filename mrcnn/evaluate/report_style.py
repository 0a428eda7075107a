"""How a report looks: one column on a phone, two where there is room, light and dark."""

STYLE = """
:root { --back: #fff; --fore: #1d1d1f; --soft: #6e6e73; --rule: #e3e3e6; --panel: #f5f5f7;
  --shade: #0003; --blue: #0a6fd8; --orange: #d9660a; --green: #2a8a4a; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --back: #161618; --fore: #ececef; --soft: #9a9aa1;
  --rule: #333338; --panel: #212124; --shade: #fff4; --blue: #4aa3ff; --orange: #ff9a42;
  --green: #5cc98a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--fore); font: 16px/1.5 system-ui,
  -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  -webkit-text-size-adjust: 100%; font-variant-numeric: tabular-nums; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.1rem 4rem; }
h1 { font-size: clamp(1.35rem, 5vw, 1.75rem); line-height: 1.2; font-weight: 650;
  letter-spacing: -.01em; margin: 0 0 .8rem; overflow-wrap: break-word; }
h2 { font-size: 1.2rem; font-weight: 650; margin: 3rem 0 .6rem; padding-top: 1rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; font-weight: 600; margin: 1.6rem 0 0; overflow-wrap: break-word; }
p { margin: .4rem 0 1rem; max-width: 44rem; }
p, .told, figcaption, .note, .what, dt { color: var(--soft); }
.told { margin: 0 0 .5rem; }
code { font-size: .9em; white-space: nowrap; }
dl { margin: 0 0 1rem; display: grid; gap: .1rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
dl div { display: flex; gap: .7rem; min-width: 0; }
dt { flex: none; } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem;
  margin: 1.5rem 0; }
.card { background: var(--panel); border-radius: .7rem; padding: .8rem 1rem; }
.number { font-size: 1.7rem; font-weight: 650; line-height: 1.25; }
.what, .note, figcaption, dl { font-size: .9rem; } .note { line-height: 1.3; font-size: .8rem; }
.notes { border-left: 3px solid var(--orange); padding-left: 1rem; }
.notes p { color: var(--fore); margin: .3rem 0; }
.scroll { overflow-x: auto; max-width: 100%; scrollbar-width: thin; background:
  linear-gradient(90deg, var(--back) 50%, transparent) 0 0 / 3rem 100% no-repeat local,
  linear-gradient(270deg, var(--back) 50%, transparent) 100% 0 / 3rem 100% no-repeat local,
  linear-gradient(90deg, var(--shade), transparent) 0 0 / 1.2rem 100% no-repeat scroll,
  linear-gradient(270deg, var(--shade), transparent) 100% 0 / 1.2rem 100% no-repeat scroll; }
.more { display: none; margin-bottom: .3rem; font-size: .9rem; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
thead th { border-bottom: 1px solid var(--rule); }
td.text, th.text { text-align: left; }
td.text:not(:first-child) { white-space: normal; min-width: 8rem; }
td:first-child, th:first-child { padding-left: .2rem; position: sticky; left: 0;
  background: var(--back); }
tr.best td { color: var(--green); } tr.used td { font-weight: 600; }
.confusion th[scope=row] { text-align: right; }
.confusion td { border-radius: .3rem; }
td.right { background: color-mix(in srgb, var(--blue) var(--share), transparent); }
td.wrong { background: color-mix(in srgb, var(--orange) var(--share), transparent); }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.pair { display: grid; gap: 1.5rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; min-width: 0; } figcaption { margin-top: .2rem; }
svg { display: block; width: 100%; max-width: 30rem; height: auto; }
svg text { font-size: 13px; fill: var(--fore); paint-order: stroke; stroke: var(--back);
  stroke-width: 4px; } svg .tick { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--rule); fill: none; } .equal { stroke: var(--soft); stroke-dasharray: 4 4; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.s0 { stroke: var(--blue); } .s1 { stroke: var(--orange); } .s2 { stroke: var(--green); }
.point { fill: var(--blue); fill-opacity: .55; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem; }
@media (max-width: 30rem) { table { font-size: .85rem; } th, td { padding: .3rem .25rem; }
  .two { grid-template-columns: 1fr; } main { padding-top: 1.2rem; } }
@media (max-width: 40rem) { .more { display: block; } }
img { display: block; max-width: 100%; height: auto; border-radius: .4rem; }
.zoom { display: block; cursor: zoom-in; } .zoom input { position: absolute; opacity: 0; }
.zoom input:focus-visible ~ .view { outline: 3px solid var(--blue); outline-offset: 2px; }
.zoom input:checked ~ .view { position: fixed; inset: 0; z-index: 1; overflow: auto;
  background: var(--back); cursor: zoom-out; }
.zoom input:checked ~ .view img { width: max(100vw, 45rem); height: 100vh; max-width: none;
  object-fit: contain; border-radius: 0; }
.key.right { color: #2980f5; } .key.wrong { color: #ff800d; } .key.crowd { color: #999; }
details summary { cursor: pointer; color: var(--blue); margin: .8rem 0; }
@media print { article, figure, tr { break-inside: avoid; } }
"""
