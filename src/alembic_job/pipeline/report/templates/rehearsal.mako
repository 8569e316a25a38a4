<%inherit file="frame.mako"/>
<section id="outcome" aria-labelledby="measured">
<h2 id="measured">${"What failed" if error else "As measured on a copy" if facts else "Nothing was rehearsed"}</h2>
% if error:
<div class="error"><p class="what"><bdi>${error}</bdi></p></div>
% endif
% if facts:
${parent.facts(facts)}
% else:
<p>The database is where these scripts need it to be.</p>
% endif
</section>
% if findings:
<section aria-labelledby="findings">
<h2 id="findings">Findings</h2>
<ul class="marks">
% for each in findings:
<li class="alarm"><bdi>${each["message"]}</bdi>\
% if each.get("diff"):
<pre><bdi>${"\n".join(each["diff"])}</bdi></pre>\
% endif
</li>
% endfor
</ul>
</section>
% endif
% if listed.revisions:
<section aria-labelledby="revisions-title">
<h2 id="revisions-title">Revisions</h2>
${parent.revisions("revisions", listed)}
</section>
% endif
${parent.notes(notes)}
