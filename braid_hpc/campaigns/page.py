"""The state of a campaign as one HTML file, which opens from disk and asks nobody."""

from __future__ import annotations

import json
from typing import Any

from braid_hpc.campaigns.campaign import STATES
from braid_hpc.store.tables import Table

__all__ = ["MOST_GROUPS", "as_page"]

#: Groups that a page can have: with more of them it would be slow to use.
MOST_GROUPS = 100_000


def as_page(title: str, counts: list[tuple[str, Table]]) -> str:
    """Return a page with filters for each column, counts by state, and bars.

    Parameters
    ----------
    title : str
        Above it.
    counts : list of (str, Table)
        Name of each table, and its groups, as from :meth:`~braid_hpc.campaigns.campaign.Campaign.counts`.

    Returns
    -------
    str
        HTML.
    """
    by: list[str] = []
    for _, table in counts:
        by += [name for name in table.columns if name not in (*STATES, "done", *by)]
    rows = [
        [name, *(_plain(row.get(column)) for column in by), *(row[state] for state in STATES)]
        for name, table in counts
        for row in table
    ]
    data = json.dumps({"title": title, "by": ["table", *by], "states": list(STATES), "rows": rows}, allow_nan=False)
    # What could end the element that the data stands in.
    return _PAGE.replace("@DATA@", data.replace("<", "\\u003c"))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>campaign</title><style>
body{font:14px system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}
th,td{padding:.2em .6em;text-align:right;border-bottom:1px solid #ddd}th.by,td.by{text-align:left}
thead th{position:sticky;top:0;background:#fff}input{width:8em;font:inherit}
.bar{display:inline-block;width:10em;height:.8em;background:#eee;vertical-align:middle}
.bar span{display:block;height:100%;background:#2a8f4d}.lack{color:#b3261e}.all{color:#2a8f4d}
#whole .bar{width:30em;height:1.2em}
</style></head><body><h1></h1><p id="whole"></p><table><thead></thead><tbody></tbody></table><p id="more"></p>
<script id="data" type="application/json">@DATA@</script><script>
"use strict";
const data=JSON.parse(document.getElementById("data").textContent),n=data.by.length,shown=500;
const at=Object.fromEntries(data.states.map((s,i)=>[s,n+i]));
document.querySelector("h1").textContent=data.title;document.title=data.title;
const el=(tag,text,name)=>{const e=document.createElement(tag);if(text!==undefined)e.textContent=text;
  if(name)e.className=name;return e};
const bar=share=>{const b=el("span",undefined,"bar"),s=el("span");s.style.width=(100*share)+"%";b.append(s);return b};
const percent=share=>(share===1?100:Math.min(99.9,100*share)).toFixed(1)+" %";
const head=document.querySelector("thead"),names=el("tr"),filters=el("tr"),inputs=[];
[...data.by,...data.states,"done"].forEach((name,i)=>{names.append(el("th",name,i<n?"by":""));
  const cell=el("th",undefined,i<n?"by":"");
  if(i<n+data.states.length){const input=el("input");input.placeholder=i<n?"contains, =, <, >":"=, <, >";
    input.addEventListener("input",show);inputs.push(input);cell.append(input)}
  filters.append(cell)});
head.append(names,filters);
function test(text,value){text=text.trim();if(!text)return true;
  const found=/^(<=|>=|<|>|=)\\s*(.*)$/.exec(text);
  if(!found)return String(value??"").toLowerCase().includes(text.toLowerCase());
  const [,sign,word]=found,number=Number(word),both=word!==""&&!Number.isNaN(number)&&typeof value==="number";
  const a=both?value:String(value??""),b=both?number:word;
  return sign==="="?a===b:sign==="<"?a<b:sign===">"?a>b:sign==="<="?a<=b:a>=b}
function show(){const texts=inputs.map(i=>i.value),rows=data.rows.filter(r=>texts.every((t,i)=>test(t,r[i])));
  const sums=data.states.map((_,i)=>rows.reduce((s,r)=>s+r[n+i],0)),total=sums[0],todo=sums[at.to_do-n];
  const whole=document.getElementById("whole"),share=total?1-todo/total:1;whole.replaceChildren(bar(share),
    el("span"," "+percent(share)+" of "+total+" files; "+
      data.states.slice(1).map((s,i)=>s.replace("_"," ")+" "+sums[i+1]).join(", ")));
  const body=document.querySelector("tbody");body.replaceChildren(...rows.slice(0,shown).map(r=>{const row=el("tr");
    r.forEach((v,i)=>row.append(el("td",v??"",i<n?"by":"")));
    const done=r[at.total]?1-r[at.to_do]/r[at.total]:1,cell=el("td",undefined,done===1?"all":"lack");
    cell.append(bar(done),el("span"," "+percent(done)));row.append(cell);return row}));
  document.getElementById("more").textContent=rows.length>shown?(rows.length-shown)+" more rows: filter them":""}
show();
</script></body></html>
"""
