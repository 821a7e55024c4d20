"""What the site's generator does not know of this repository.

Pages that stand in its root come to the site too, and links to files that are no pages (sources,
tests) become their names: the site is a folder that may be anywhere.
"""

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")

_FROM_ELSEWHERE = re.compile(
    r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"(?:https?:)?//[^\"]*"
)

_LINK = re.compile(r"\[(?P<words>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Let every link of a page lead to a page of the site, or be words."""
    source = PurePosixPath(page.file.src_uri)
    from_root = source.name in ROOT_PAGES
    folder = PurePosixPath() if from_root else PurePosixPath("docs") / source.parent

    def led(found: re.Match[str]) -> str:
        target, _, anchor = found["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        path = _plain(folder / target)
        inside = _plain(PurePosixPath(str(path).removeprefix("docs/")))
        name = "index.md" if str(path) == "README.md" else str(inside)
        if files.get_file_from_path(name) is None:
            return f"{found['words']} (`{path}`)" if "`" not in found["words"] else found["words"]
        way = "../" * (len(source.parts) - 1)
        return f"[{found['words']}]({way}{name}{'#' if anchor else ''}{anchor})"

    # Figures stay as they are: they are files of the site.
    return re.sub(rf"(?<!!){_LINK.pattern}", led, markdown)


def on_post_page(output: str, *, page: Page, **_: object) -> str:
    """Refuse a page that would load anything from elsewhere.

    Raises:
        PluginError: it does; the build ends.
    """
    found = _FROM_ELSEWHERE.search(output)
    if found is not None:
        raise PluginError(f"{page.file.src_uri} loads {found[0]}")
    return output


def _plain(path: PurePosixPath) -> PurePosixPath:
    """Return ``path`` without its dots."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)
