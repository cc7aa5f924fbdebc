"""Workbooks, for tests to import: written part by part, so that any of them can be wrong."""

import io
import zipfile
from datetime import date, datetime, time
from xml.sax.saxutils import escape, quoteattr

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_LINKS = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_PACKAGE = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
_TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
FORMATS = ["General", "yyyy-mm-dd", "0000000", '"day" 0', "[Red]0.00", "[h]:mm"]
DATE = 1


class Raw(str):
    """A cell as its XML says it, after the reference."""

    __slots__ = ()


def letters(column):
    found = ""
    while column:
        column, rest = divmod(column - 1, 26)
        found = chr(65 + rest) + found
    return found


def serial(value):
    if isinstance(value, time):
        return (value.hour * 3600 + value.minute * 60 + value.second) / 86_400
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value.isoformat())
    return (moment - datetime.fromisoformat("1899-12-30")).total_seconds() / 86_400


def cell(place, value):
    if value is None:
        return ""
    if isinstance(value, Raw):
        return f'<c r="{place}" {value}</c>'
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, date | time):
        return f'<c r="{place}" s="{DATE}"><v>{serial(value)!r}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value!r}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def sheet_xml(rows):
    told = []
    for number, row in enumerate(rows, 1):
        cells = "".join(cell(f"{letters(column)}{number}", value) for column, value in enumerate(row, 1))
        told.append(f'<row r="{number}">{cells}</row>')
    return f"<worksheet {_MAIN}><cols/><sheetData>{''.join(told)}</sheetData><mergeCells/></worksheet>"


def workbook(*rows, more=None, parts=None, epoch_1904=False, packing=zipfile.ZIP_DEFLATED):
    """Return a workbook with a sheet of these rows, and `more` sheets; `parts` are put in place of what it has."""
    sheets = {"Bills": rows, **(more or {})}
    links = "".join(
        f'<Relationship Id="r{n}" Type="{_TYPE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    links += f'<Relationship Id="s" Type="{_TYPE}/styles" Target="/xl/styles.xml"/>'
    if "xl/sharedStrings.xml" in (parts or {}):
        links += f'<Relationship Id="t" Type="{_TYPE}/sharedStrings" Target="sharedStrings.xml"/>'
    named = "".join(f'<sheet name={quoteattr(s)} sheetId="{n}" r:id="r{n}"/>' for n, s in enumerate(sheets, 1))
    formats = "".join(f'<numFmt numFmtId="{163 + n}" formatCode={quoteattr(f)}/>' for n, f in enumerate(FORMATS, 1))
    kinds = "".join(f'<xf numFmtId="{163 + n}"/>' for n in range(1, len(FORMATS) + 1))
    content = {
        "[Content_Types].xml": "<Types/>",
        "xl/workbook.xml": f'<workbook {_MAIN} {_LINKS}><workbookPr date1904="{int(epoch_1904)}"/>'
        f"<sheets>{named}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f"<Relationships {_PACKAGE}>{links}</Relationships>",
        "xl/styles.xml": f"<styleSheet {_MAIN}><numFmts>{formats}</numFmts>"
        f'<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs>{kinds}<xf numFmtId="14"/></cellXfs></styleSheet>',
        **{f"xl/worksheets/sheet{n}.xml": sheet_xml(rows) for n, rows in enumerate(sheets.values(), 1)},
        **(parts or {}),
    }
    return zipped({name: text for name, text in content.items() if text is not None}, packing)


def zipped(files, packing=zipfile.ZIP_DEFLATED):
    """Return a zip of files by their names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()
