package publish

import (
	"embed"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"

	"tallystream/publish/bucket"
	"tallystream/publish/log/leaf"
	"tallystream/publish/prove"
	"tallystream/schemas"
)

// assets are the pages' style sheet and scripts. live.js speaks the live
// protocol and belongs to the fanout; pages.js puts its lines on the page. What
// proves them is package prove's.
//
//go:embed assets
var assets embed.FS

// asset finds the key of an asset by its name: named by its content, so that
// no page ever meets another version's script. "" if there is none.
type assetKeys map[string]string

// proofModule names the module with which a page proves what it shows.
const proofModule = "proof"

// loadAssets reads all assets as objects, and their keys.
func loadAssets() ([]bucket.Object, assetKeys, error) {
	var objects []bucket.Object
	keys := assetKeys{}
	err := fs.WalkDir(assets, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := fs.ReadFile(assets, name)
		if err != nil {
			return err
		}
		extension := path.Ext(name)
		key := schemas.ContentKey("assets", schemas.DigestOf(b), extension)
		keys[path.Base(name)] = key
		objects = append(objects, immutable(key, b, mime.TypeByExtension(extension)))
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading page assets: %w", err)
	}
	proof, err := prove.Assets()
	if err != nil {
		return nil, nil, err
	}
	for _, a := range proof {
		objects = append(objects, immutable(a.Key, a.Body, mime.TypeByExtension(".js")))
		if a.Name == prove.Page {
			keys[proofModule] = a.Key
		}
	}
	return objects, keys, nil
}

// frame is what all pages of one snapshot share.
type frame struct {
	*pageSet
	edition *edition
	number  schemas.SnapshotNumber
	log     schemas.LogSize // of the snapshot
	tree    schemas.Digest  // root of the log then
	time    string
	*listings
	paused *leaf.Pause                      // nil: publication does not rest
	files  map[string]schemas.ManifestEntry // exported, by name
	listed storedListing
}

// crumb is a step of the way from the front page.
type crumb struct{ name, href string }

// open begins a page. root leads to the bucket's top, such as "../";
// documents are what the page shows live.
func (f *frame) open(h *html, root, title string, crumbs []crumb, documents ...schemas.DocumentID) {
	h.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>")
	h.text(title)
	if len(crumbs) > 0 {
		h.raw(" – ").text(f.name)
	}
	h.raw("</title>\n<link rel=\"stylesheet\" href=\"", root, f.keys["pages.css"], "\">\n",
		"<link rel=\"icon\" href=\"data:,\">\n",
		"<script type=\"module\" src=\"", root, f.keys["pages.js"], "\"></script>\n</head>\n")
	h.raw("<body data-root=\"", root, "\" data-heartbeat=\"").plain(int64(f.heartbeat.Seconds())).raw("\" data-live=\"", f.keys["live.js"], "\" data-prove=\"", f.keys[proofModule], "\" data-documents=\"")
	for i, d := range documents {
		if i > 0 {
			h.raw(" ")
		}
		h.text(string(d))
	}
	h.raw("\">\n<a class=\"skip\" href=\"#main\">Skip to the results</a>\n<header>\n")
	if len(crumbs) > 0 {
		h.raw("<nav aria-label=\"Breadcrumb\"><ol><li><a href=\"", root, "index.html\">").text(f.name).raw("</a></li>")
		for _, c := range crumbs {
			h.raw("<li><a href=\"", root).text(c.href).raw("\">").text(c.name).raw("</a></li>")
		}
		h.raw("</ol></nav>\n")
	}
	h.raw("<h1>").text(title).raw("</h1>\n")
	f.rest(h)
	f.state(h)
	h.raw("</header>\n<main id=\"main\">\n")
}

// rest says that publication is paused, and why; hidden while it is not.
func (f *frame) rest(h *html) {
	if f.paused == nil {
		h.raw("<p class=\"notice\" role=\"status\" data-state=\"pause\" hidden></p>\n")
		return
	}
	h.raw("<p class=\"notice\" role=\"status\" data-state=\"pause\">Publication is paused since <time datetime=\"").text(f.paused.Time).raw("\">").
		text(readableTime(f.paused.Time)).raw("</time>: ").text(f.paused.Text).raw("</p>\n")
}

// state says how old the page is; the script says how old what it shows is.
func (f *frame) state(h *html) {
	h.raw("<p class=\"state\" role=\"status\" aria-live=\"polite\"><span data-state=\"page\" data-snapshot=\"").plain(int64(f.number)).
		raw("\">Unofficial results. Last change on this page: <time datetime=\"").text(f.time).raw("\">").text(readableTime(f.time)).raw("</time>, snapshot ").number(int64(f.number)).
		raw(".</span> <span data-state=\"live\"></span></p>\n<p class=\"notice\" data-state=\"notice\" hidden></p>\n")
}

// close ends a page.
func (f *frame) close(h *html, root string) {
	h.raw("</main>\n<footer>\n<p>Results are unofficial until the authorities certify them. No winner is declared here: ",
		"<em>leading</em> only says who has the most votes counted so far.</p>\n",
		"<p>Check these numbers: every snapshot is a signed note (<a href=\"", root, "latest\">latest</a>, key <code>").text(f.vkey).
		raw("</code>) that names the hash of each document, and the hash of the snapshot before it. ",
			"The <a href=\"", root, "definition.json\">definition</a> says what is counted.</p>\n",
			"<p>Every submission is in the public log, byte by byte. At snapshot ").number(int64(f.number)).raw(" it had ").number(int64(f.log)).
		raw(" leaves; their root hash was <code>", f.tree.String(), "</code> (<a href=\"", root, "checkpoint\">newest checkpoint</a>, <a href=\"", root, schemas.SnapshotKey(f.number), "\">this snapshot</a>).</p>\n</footer>\n</body>\n</html>\n")
}

// readableTime turns RFC 3339 into what people read, in UTC.
func readableTime(t string) string {
	day, clock, ok := strings.Cut(t, "T")
	if !ok || len(clock) < 8 {
		return t
	}
	return day + " " + clock[:8] + " UTC"
}
