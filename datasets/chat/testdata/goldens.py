"""Renders testdata/*.jinja with jinja2 set up as transformers does and writes testdata/goldens.json."""
import json, sys, glob, os, datetime
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils as u
D = sys.argv[1]
compile_ = u._compile_jinja_template
call = lambda args: [{"type": "function", "function": {"name": "weather", "arguments": args}}]
S = lambda c: {"role": "system", "content": c}
U = lambda c: {"role": "user", "content": c}
A = lambda c, **k: {"role": "assistant", "content": c, **k}
T = lambda c: {"role": "tool", "content": c}
convs = {
 "one": [U("Hi")],
 "system": [S("Be brief."), U("Hi"), A("Hello & <b>welcome</b> ✓"), U("Bye  \n"), A("  Bye\n")],
 "tools": [U("Weather?"), A("", tool_calls=call({"city": "Kyōto", "days": 3, "a": {"z": 1.0, "y": [1e20, None, True]}})), T("Sun"), T("Rain"), A("Sun, rain.")],
 "toolsandtext": [U("Weather?"), A("Let me see.", tool_calls=call({"zebra": 1, "city": "Oslo"}) + [{"name": "plain", "arguments": {}}]), T("Sun"), A("Sun.")],
 "thoughts": [U("1+1?"), A("<think>\neasy\n</think>\n\n2"), U("2+2?"), A("<think>\nhm\n</think>\n\n4")],
 "plainlast": [U("1+1?"), A("2"), U("2+2?"), A("4")],
 "empty": [S(""), U(""), A("")],
 "quotes": [U('He said "no\\n"\t{{ x }} {% if %}'), A("```go\nif a < b && c > d {}\n```")],
}
out = []
for f in sorted(glob.glob(D + "/*.jinja")):
    src = open(f).read()
    t = compile_(src)
    for name, m in convs.items():
        for g in (False, True):
            row = {"template": os.path.basename(f), "name": name, "messages": m, "generate": g}
            try:
                row["text"] = t.render(messages=m, tools=None, documents=None, add_generation_prompt=g, bos_token="<s>", eos_token="</s>")
            except jinja2.exceptions.TemplateError as e:
                row["error"] = str(e)
            except TypeError as e:
                row["error"] = str(e)
            out.append(row)
json.dump(out, open(D + "/goldens.json", "w"), ensure_ascii=False, indent=1)
print(len(out), [ (r["template"], r["name"], r["error"]) for r in out if "error" in r])
