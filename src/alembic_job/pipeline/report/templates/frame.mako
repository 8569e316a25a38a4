<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<a class="skip" href="#outcome">To the outcome</a>
<header>
<p><span class="badge ${state}">${badge}</span></p>
<h1>${title}</h1>
<p class="soft"><bdi>${where}</bdi></p>
</header>
<main>
${next.body()}\
% if settings:
<section aria-labelledby="settings">
<h2 id="settings">Settings</h2>
<details class="long"><summary>${count(len(settings), "setting")}, all others at their defaults</summary>
<div class="scroll"><table class="fold"><thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col">From</th></tr></thead><tbody>
% for name, value, origin in settings:
<tr><th scope="row" class="mono">${name}</th><td class="mono lines"><bdi>${value}</bdi></td><td data-name="from">${origin}</td></tr>
% endfor
</tbody></table></div></details>
</section>
% endif
</main>
<footer><p>Written by alembic-job ${version}, ${written}. This file asks nobody for anything.</p></footer>
<script>${script}</script>
</body>
</html>
<%def name="tools(of)">
<div class="tools" data-of="${of}" hidden>
<input type="search" aria-label="Show only revisions that contain" placeholder="Filter: a table, a word, a revision">
<button type="button">Open all</button><button type="button">Close all</button>
<span role="status" class="soft"></span>
</div>
</%def>
<%def name="facts(rows)">
<dl class="facts">
% for name, value, kind in rows:
<div class="${kind}${" long" if len(value) > 30 else ""}"><dt>${name}</dt><dd><bdi>${value}</bdi></dd></div>
% endfor
</dl>
</%def>
<%def name="marks(rows)">
% if rows:
<ul class="marks">
% for text, kind in rows:
<li class="${kind}"><bdi>${text}</bdi></li>
% endfor
</ul>
% endif
</%def>
<%def name="notes(texts)">
% if texts:
<section aria-labelledby="notes"><h2 id="notes">Notes</h2>
${marks([(text, "") for text in texts])}
</section>
% endif
</%def>
<%def name="revisions(of, listed)">
${tools(of)}
<ol class="revisions" id="${of}">
% for each in listed.revisions:
<li><div class="graph"><svg width="${listed.width}" height="0"></svg>${each.graph}</div><details><summary><code><bdi>${each.revision}</bdi></code><span class="message"><bdi>${each.message}</bdi></span>\
% for text, kind in each.chips:
<span class="chip ${kind}"><bdi>${text}</bdi></span>\
% endfor
% if each.seconds:
<span class="end soft">${each.seconds}</span>\
% endif
</summary><div class="body">
% if each.file:
<p class="soft mono"><bdi>${each.file}</bdi></p>
% endif
${each.bar}
${marks([(note, "care") for note in each.notes])}
% for statement in each.statements:
<div class="statement">\
% if statement.title:
<p class="soft">${statement.title}</p>\
% endif
<pre><bdi>${statement.sql}</bdi></pre>
${marks(statement.marks)}
</div>
% endfor
% if not each.statements and each.remark:
<p class="soft">${each.remark}</p>
% endif
</div></details></li>
% endfor
</ol>
</%def>
