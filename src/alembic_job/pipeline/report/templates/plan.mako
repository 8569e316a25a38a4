<%inherit file="frame.mako"/>
<section id="outcome" aria-labelledby="worst">
<h2 id="worst">${headline}</h2>
% if not facts:
<p>The database is where these scripts need it to be.</p>
% else:
<dl class="facts">
% for name, value, kind in facts:
<div class="${kind}${" long" if len(value) > 40 else ""}"><dt>${name}</dt><dd><bdi>${value}</bdi></dd></div>
% endfor
</dl>
% endif
</section>
% for table in tables:
<section aria-labelledby="table${loop.index}">
<h2 id="table${loop.index}">Version table <code><bdi>${table.name}</bdi></code></h2>
<p>\
% if table.current:
At <code><bdi>${table.current}</bdi></code>. \
% else:
Nothing has been applied yet. \
% endif
<bdi>${table.remark}</bdi></p>
% if table.revisions:
${parent.tools(f"revisions{loop.index}")}
<ol class="revisions" id="revisions${loop.index}">
% for each in table.revisions:
<li><div class="graph"><svg width="${table.width}" height="0"></svg>${each.graph}</div><details><summary><code><bdi>${each.revision}</bdi></code><span class="message"><bdi>${each.message}</bdi></span>\
% for text, kind in each.chips:
<span class="chip ${kind}"><bdi>${text}</bdi></span>\
% endfor
% if each.seconds:
<span class="end soft">${each.seconds}</span>\
% endif
</summary><div class="body">
<p class="soft mono"><bdi>${each.file}</bdi></p>
% if each.remarks:
<ul class="marks">
% for remark in each.remarks:
<li class="care"><bdi>${remark}</bdi></li>
% endfor
</ul>
% endif
% for statement in each.statements:
<div class="statement"><pre><bdi>${statement.sql}</bdi></pre>
% if statement.marks:
<ul class="marks">
% for text, kind in statement.marks:
<li class="${kind}"><bdi>${text}</bdi></li>
% endfor
</ul>
% endif
</div>
% endfor
% if not each.statements and not each.remarks:
<p>Executes nothing.</p>
% endif
</div></details></li>
% endfor
</ol>
% endif
</section>
% endfor
% if notes:
<section aria-labelledby="notes"><h2 id="notes">Notes</h2><ul class="marks">
% for note in notes:
<li><bdi>${note}</bdi></li>
% endfor
</ul></section>
% endif
