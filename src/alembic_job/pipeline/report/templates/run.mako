<%inherit file="frame.mako"/>
<section id="outcome" aria-labelledby="ended">
<h2 id="ended">${"How it ended" if not error else "What failed"}</h2>
% if dry:
<p>A dry run: nothing was changed.</p>
% endif
% if error:
<div class="error"><p class="what"><bdi>${error}</bdi></p>
% if hint:
<p>What to do: <bdi>${hint}</bdi></p>
% endif
</div>
% endif
${parent.facts(facts)}
% if more:
<details><summary>More of what the last line says</summary>
${pairs(more)}
</details>
% endif
</section>
% if steps:
<section aria-labelledby="timeline">
<h2 id="timeline">Timeline</h2>
<svg class="patterns" width="0" height="0" aria-hidden="true"><defs><pattern id="waiting" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="7" height="7"/><line x1="0" y1="0" x2="0" y2="7"/></pattern></defs></svg>
<p class="legend"><span>work</span><span class="wait">waiting for a lock, another runner or the database</span><span class="fail">ended the run</span></p>
<div class="scroll"><table class="fold"><thead><tr><th scope="col">Step</th><th scope="col">When</th><th scope="col" class="number">After</th><th scope="col" class="number">Took</th><th scope="col" class="number">Waited</th></tr></thead><tbody>
% for step in steps:
<tr><th scope="row">${step.name}${" – failed" if step.failed else ""}<span class="soft clamped"><bdi>${step.detail}</bdi></span></th><td class="wide">${step.bar}</td><td class="number" data-name="after">${step.after}</td><td class="number" data-name="took">${step.seconds}</td><td class="number${"" if step.waited else " none"}" data-name="waited">${step.waited or "–"}</td></tr>
% endfor
</tbody></table></div>
% if omitted:
<p class="soft">${omitted}</p>
% endif
</section>
% endif
% if blockers:
<section aria-labelledby="blockers">
<h2 id="blockers">Who was in the way</h2>
% for each in blockers:
<h3><bdi>${each["who"]}</bdi> <span class="soft"><bdi>${each["whose"]}</bdi></span></h3>
<p><bdi>${each["what"]}</bdi>. \
% if each["state"]:
<bdi>${each["state"]}</bdi>. \
% endif
% if each["locks"]:
Holds <bdi>${each["locks"]}</bdi>. \
% endif
Seen last after ${each["seen"]}.\
</p>
% if each["statement"]:
<pre><bdi>${each["statement"]}</bdi></pre>
% endif
% if each["end"]:
<p>It is ended by <code><bdi>${each["end"]}</bdi></code></p>
% endif
% endfor
</section>
% endif
% if evidence:
<section aria-labelledby="evidence">
<h2 id="evidence">What the rollback loses, as foreseen before the first change</h2>
<div class="scroll"><table class="fold"><thead><tr><th scope="col">Revision</th><th scope="col">What</th><th scope="col">By</th></tr></thead><tbody>
% for each in evidence:
<tr><th scope="row" class="mono"><bdi>${each.fields.get("revision", "")}</bdi></th><td><bdi>${each.fields.get("message", "")}</bdi></td><td class="mono"><bdi>${each.fields.get("statement", "")}</bdi></td></tr>
% endfor
</tbody></table></div>
</section>
% endif
% if findings:
<section aria-labelledby="findings">
<h2 id="findings">Findings of lint</h2>
<div class="scroll"><table class="fold"><thead><tr><th scope="col">Where</th><th scope="col">What</th><th scope="col">Rule</th></tr></thead><tbody>
% for each in findings:
<tr><th scope="row" class="mono"><bdi>${each.fields.get("file", "")}:${each.fields.get("line", "")}</bdi></th><td><span class="chip ${"bad" if each.fields.get("severity") == "error" else "warn"}">${each.fields.get("severity", "")}</span> <bdi>${each.fields.get("message", "")}</bdi></td><td class="mono">${each.fields.get("rule", "")}</td></tr>
% endfor
</tbody></table></div>
</section>
% endif
% if warnings:
<section aria-labelledby="warnings">
<h2 id="warnings">Warnings</h2>
<ul class="marks">
% for each in warnings:
<li><code>${each.event}</code> <span class="soft">after ${each.after}</span> <bdi>${each.text}</bdi>\
% if each.hint:
<br>What to do: <bdi>${each.hint}</bdi>\
% endif
% if each.lines:
<pre><bdi>${each.lines}</bdi></pre>\
% endif
</li>
% endfor
</ul>
</section>
% endif
% for title, listed in groups:
<section aria-labelledby="revisions-title${loop.index}">
<h2 id="revisions-title${loop.index}"><bdi>${title}</bdi></h2>
${parent.revisions(f"revisions{loop.index}", listed)}
</section>
% endfor
% for each in backups:
<section aria-labelledby="backup${loop.index}"><h2 id="backup${loop.index}">Backup</h2>
${pairs(each)}
</section>
% endfor
<section aria-labelledby="events">
<h2 id="events">Events</h2>
<details class="long"><summary>All that the run said: ${count(len(events) + events_left, "event")}</summary>
<div class="scroll"><table class="fold"><thead><tr><th scope="col" class="number">After</th><th scope="col">Event</th><th scope="col">Fields</th></tr></thead><tbody>
% for after, level, event, fields in events:
<tr><td class="number">${after}</td><td class="mono event">${event}\
% if level in ("warning", "error"):
<br><span class="chip ${"bad" if level == "error" else "warn"}">${level}</span>\
% endif
</td><td class="mono"><bdi>${fields}</bdi></td></tr>
% endfor
</tbody></table></div>
% if events_left:
<p>${count(events_left, "more event")}: the log has them.</p>
% endif
</details>
</section>
<%def name="pairs(rows)">
<div class="scroll"><table class="fold pairs"><tbody>
% for name, value in rows:
<tr><th scope="row">${name}</th><td class="lines"><bdi>${value}</bdi></td></tr>
% endfor
</tbody></table></div>
</%def>
