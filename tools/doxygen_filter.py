#!/usr/bin/env python3
"""Doxygen's INPUT_FILTER for the public headers: plain C comments to doxygen's.

    tools/doxygen_filter.py HEADER

Headers are written for readers of C. Their rules are these, and this script knows them:
- The comment a file begins with is about the file.
- A comment before declarations is about each of them, up to an empty line, another comment, or one
  that has a comment behind it.
- A comment behind a declaration, member or enumerator is about that one; behind `a, b;`, about both.
- `/* ---- title ---- */` begins a section; more lines in it are about the section.
- A list of X(...) that makes an enum is its enumerators; the first text of a row tells about one.
Indented lines are an example, or, by two blanks, a list.
"""

import os
import re
import sys

COMMENT = re.compile(r"/\*.*?\*/", re.S)
SECTION = re.compile(r"/\* -{4} (.*?) -{4,}(.*)\*/", re.S)


def words(comment):
    """The lines of a comment without its marks; what is left of their indentation counts."""
    body = comment[2:-2]
    lines = [re.sub(r"^\s*\* ?", "", line) if i else line.strip()
             for i, line in enumerate(body.split("\n"))]
    return [line.rstrip() for line in lines]


def escaped(line):
    return re.sub(r"([\\@<>#%&])", r"\\\1", line)


def prose(lines):
    """The lines in doxygen's markup."""
    out, state = [], "text"
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if not line:
            if state != "code":
                out.append("")
        elif state == "code" and indent >= 4:
            out.append(line)
        elif indent >= 4 and state == "text":
            out += ["", "@code", line]
            state = "code"
        else:
            if state == "code":
                out += ["@endcode", ""]
                state = "text"
            if indent in (1, 2, 3):
                out.append("  - " + escaped(line.lstrip()))
                state = "list"
            elif indent >= 4:
                out.append("    " + escaped(line.lstrip()))
            else:
                if state == "list":
                    out.append("")
                out.append(escaped(line))
                state = "text"
    if state == "code":
        out.append("@endcode")
    return "\n".join(out).strip("\n")


def block(text, before=""):
    return f"/** {before}{text} */".replace("\n", "\n * ")


def expand_lists(text):
    """Enumerators that X-macros make, written out."""
    lists = {}
    for name, rows in re.findall(r"#define (WEFT_\w+_LIST)\(X\)((?:.*\\\n)*.*\n)", text):
        lists[name] = re.findall(r"X\((\w+), ([^)]*)\)", rows)
    def enumerators(match):
        prefix, name, rest = match[1], match[2], match[3]
        rows = []
        for row, arguments in lists[name]:
            about = re.search(r"\"([^\"]*)\"", arguments)[1]
            size = re.match(r"(\d+),", arguments)
            about += f", {size[1]} bytes" if size else ""
            rows.append(f"    {prefix}{row}, /* {about} */\n")
        return "".join(rows) + rest
    return re.sub(r"#define X\([^)]*\) (\w+)##name,\n\s*(WEFT_\w+_LIST)\(X\)\n#undef X\n(\s*(?:\w+ /\*.*\*/)?)",
                  enumerators, text)


def split_declarators(code):
    """`int a, *b;` as two declarations, which doxygen then documents one by one."""
    one = r"\**\w+(?:\[\w+\])*"
    match = re.fullmatch(rf"(\s*)((?:const |unsigned |struct )*\w+ )({one}(?:, {one})+);", code)
    if not match:
        return [code]
    return [f"{match[1]}{match[2]}{name};" for name in match[3].split(", ")]


def filtered(text, path):
    """What doxygen gets to see of a header."""
    # What C++ sees differently is of no interest here.
    text = re.sub(r"^#else\nextern \"C\+\+\".*?^#endif\n", "#endif\n", text, flags=re.S | re.M)
    text = re.sub(r"^#ifdef __cplusplus\n((?!#endif\n).*?\n)*?(#else\n(.*?))?#endif\n",
                  lambda m: m[3] or "", text, flags=re.S | re.M)
    text = re.sub(r"^/\* clang-format o\w+ \*/\n", "", text, flags=re.M)
    text = re.sub(r"^#(?:ifndef|define) WEFT_\w+_H\n", "", text, flags=re.M)
    text = re.sub(r"\n#endif\n*\Z", "\n", text)
    return translate(expand_lists(text), path)


def translate(text, path):
    lines_out = []
    opening = COMMENT.match(text)
    name = "weft/" + os.path.basename(path)
    lines_out.append(block(prose(words(opening[0])), f"@file {name}\n"))
    text = text[opening.end():]
    about = None      # comment that holds for the declarations to come
    in_section = False
    for statement in statements(text):
        kind = statement[0]
        if kind == "blank":
            about = None
            lines_out.append("")
        elif kind == "comment":
            section = SECTION.fullmatch(statement[1])
            if section:
                if in_section:
                    lines_out.append("/** @} */")
                more = words("/*" + section[2] + "*/")
                title = section[1]
                lines_out.append(block(prose(more), f"@name {title[0].upper()}{title[1:]}\n") + "\n/** @{ */")
                in_section, about = True, None
            else:
                about = prose(words(statement[1]))
        elif kind == "raw":
            lines_out.append(statement[1])
        elif kind == "open":
            lines_out.append((block(about) + "\n" if about else "") + statement[1])
            about = None
        elif kind == "close":
            lines_out.append(statement[1])
            about = None
        else:
            _, code, trailing = statement
            own = prose(words(trailing)) if trailing else about
            for one in split_declarators(code):
                if own:
                    lines_out.append(block(own))
                lines_out.append(one)
            if trailing:
                about = None
    if in_section:
        lines_out.append("/** @} */")
    return "\n".join(lines_out) + "\n"


def statements(text):
    """What the header holds, in order: ("blank",), ("comment", text), ("raw", text) (preprocessor lines
    other than #define), ("open", "typedef struct x {"), ("close", "} x;"), and ("code", text,
    comment behind it or None): declarations, members, enumerators, #define."""
    at, depth, enum = 0, 0, False
    blank = re.compile(r"[ \t]*\n(?:[ \t]*\n)+")
    define = re.compile(r"[ \t]*#(?:[^\n\\/]|\\[\n\"]|/(?!\*))*")
    opened = re.compile(r"[^;{}#/]*\{")
    code = re.compile(r"(?:[^;{}/#\"]|\"[^\"]*\"|\{[^{}]*\}|/(?!\*))*?;")
    enumerator = re.compile(r"(?:[^,{}/]|/(?!\*))+?(?:,|(?=\s*(?:/\*|\})))")
    trailing = re.compile(r"[ \t]*(/\*.*?\*/)", re.S)
    while at < len(text):
        match = blank.match(text, at)
        if match:
            yield ("blank",)
            at = match.end()
            continue
        if text[at].isspace():
            at += 1
            continue
        match = COMMENT.match(text, at)
        if match:
            yield ("comment", match[0])
            at = match.end()
            continue
        if text[at] == "#":
            match = define.match(text, at)
            at = match.end()
            if match[0].startswith("#define"):
                behind = trailing.match(text, at)
                yield ("code", match[0].rstrip(), behind[1] if behind else None)
                at = behind.end() if behind else at
            else:
                yield ("raw", match[0])
            continue
        if text[at] == "}":
            match = re.compile(r"\}[^;]*;").match(text, at)
            depth, enum = depth - 1, False
            yield ("close", match[0])
            at = match.end()
            continue
        if enum:
            match = enumerator.match(text, at)
        else:
            match = opened.match(text, at)
            if match and "(" not in match[0]:
                depth, enum = depth + 1, "enum" in match[0].split()
                yield ("open", match[0])
                at = match.end()
                continue
            match = code.match(text, at)
        if not match:
            raise ValueError(f"cannot read {text[at:at + 60]!r}")
        at = match.end()
        behind = trailing.match(text, at)
        yield ("code", " ".join(match[0].split()), behind[1] if behind else None)
        at = behind.end() if behind else at


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as f:
        sys.stdout.write(filtered(f.read(), sys.argv[1]))
