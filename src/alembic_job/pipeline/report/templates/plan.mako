<%inherit file="frame.mako"/>
<section id="outcome" aria-labelledby="worst">
<h2 id="worst">${headline}</h2>
% if not facts:
<p>The database is where these scripts need it to be.</p>
% else:
${parent.facts(facts)}
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
% if table.listed.revisions:
${parent.revisions(f"revisions{loop.index}", table.listed)}
% endif
</section>
% endfor
${parent.notes(notes)}
