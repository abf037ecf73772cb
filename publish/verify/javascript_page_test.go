package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/schemas"
)

// watcher shows each case's page in a frame, waits until its proof is done, and
// puts what the page said where --dump-dom prints it.
const watcher = `<!doctype html><meta charset="utf-8"><body><script>
const cases = %s, said = {};
for (const c of cases) {
  if (c.remembered) localStorage.setItem("tallystream-key " + new URL("/" + c.name + "/", location), c.remembered);
  const frame = document.createElement("iframe");
  frame.src = "/" + c.name + "/" + c.page + "#prove";
  document.body.append(frame);
  const look = () => {
    const panel = frame.contentDocument?.querySelector(".proof");
    if (!panel || panel.dataset.proof === "running") return setTimeout(look, 50);
    said[c.name] = panel.dataset.proof + ": " + panel.innerText;
    frame.remove();
    if (Object.keys(said).length === cases.length) document.body.textContent = "SAID" + JSON.stringify(said) + "DIAS";
  };
  look();
}
</script>`

// pageCase is a page of a site, and what its proof must say.
type pageCase struct {
	Name       string `json:"name"`
	Page       string `json:"page"`
	Remembered string `json:"remembered,omitempty"` // the key that the browser has
	site       site
	says       []string
}

func changed(s site, key string, change func([]byte) []byte) site {
	s = maps.Clone(s)
	s[key] = change(bytes.Clone(s[key]))
	return s
}

func TestAPageProvesWhatItShows(t *testing.T) {
	t.Parallel()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here to show pages: ", err)
	}
	n := play(t)
	f := newForger(t, n)
	s := f.latest()
	f.republish("county/oak", "documents", ".ndjson", oneMore(`"smith":[`)).relog()
	newest := fmt.Appendf(nil, `data-snapshot="%d"`, s.Number) // no older one can show what the page shows
	f.site = changed(f.site, "county/oak.html", func(b []byte) []byte { return regexp.MustCompile(`data-snapshot="\d+"`).ReplaceAll(b, newest) })
	stranger, err := (&log.Checkpoint{Origin: origin, Tree: treeOf(t, n.late)}).Sign(signerOf("intruder"))
	if err != nil {
		t.Fatal(err)
	}
	proven := fmt.Sprintf("proven: This page’s numbers are in snapshot %d, signed by %s, in the log at leaf %d of %d.", s.Number, origin, s.Log, treeOf(t, n.late).N)
	// A live front page shows new totals beside a list of counties as it was when the page was made.
	then, list := parseSnapshot(t, n.early[schemas.LatestKey]), regexp.MustCompile(`(?s)<h2>States</h2>.*</table>`)
	stale := changed(n.late, "index.html", func(b []byte) []byte {
		b = regexp.MustCompile(`data-snapshot="\d+"`).ReplaceAll(b, fmt.Appendf(nil, `data-snapshot="%d"`, then.Number))
		return list.ReplaceAllLiteral(b, list.Find(n.early["index.html"]))
	})
	cases := []pageCase{
		{Name: "front", Page: "index.html", site: n.late, says: []string{proven, "the one that this site itself names", keyOf(origin)}},
		{Name: "county", Page: "county/oak.html", site: n.late, says: []string{proven, "in one document"}},
		{Name: "contest", Page: "contest/president.html", Remembered: keyOf(origin), site: n.late, says: []string{proven, "this browser remembers"}},
		{Name: "live", Page: "index.html", site: stale, says: []string{fmt.Sprintf("proven: This page’s numbers are in snapshots %d and %d", s.Number, then.Number), "parts do not change while the page is live"}},
		{Name: "digit", Page: "county/oak.html", says: []string{"failed: Not proven: 1 of", "president in oak: votes of smith"},
			site: changed(n.late, "county/oak.html", func(b []byte) []byte { return oneMoreShown(t, b) })},
		{Name: "hidden", Page: "county/oak.html", says: []string{"failed: Not proven", "corrections are not shown, the document says"},
			site: changed(n.late, "county/oak.html", func(b []byte) []byte {
				return regexp.MustCompile(`<a class="corrected" data-c[^>]*>[^<]*</a>`).ReplaceAllLiteral(b, nil)
			})},
		{Name: "document", Page: "county/oak.html", says: []string{"failed: Not proven", "is not the document that the snapshot names"},
			site: changed(n.late, newForger(t, n).named("county/oak").Key, oneMore(`"smith":[`))},
		{Name: "signed", Page: "county/oak.html", says: []string{"failed: Not proven", "parts of this page show other numbers"}, site: f.site},
		{Name: "stranger", Page: "index.html", says: []string{"failed: Not proven", "not signed by a known key"},
			site: changed(n.late, log.CheckpointKey, func([]byte) []byte { return stranger })},
		{Name: "log", Page: "index.html", says: []string{"failed: Not proven", "does not lead to the root"},
			site: changed(n.late, "tile/1/000.p/1", func(b []byte) []byte { b[4] ^= 1; return b })},
		{Name: "rekeyed", Page: "index.html", Remembered: keyOf("intruder"), site: n.late,
			says: []string{"failed:", "The site names another key than when this browser first proved something here", "not signed by a known key"}},
	}
	said := show(t, browser, cases)
	for _, c := range cases {
		for _, want := range c.says {
			if !strings.Contains(said[c.Name], want) {
				t.Errorf("%s: want %q in\n%s", c.Name, want, said[c.Name])
			}
		}
	}
}

func parseSnapshot(t *testing.T, b []byte) *schemas.Snapshot {
	s, err := schemas.PeekSnapshot(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func treeOf(t *testing.T, s site) tlog.Tree {
	c, err := log.PeekCheckpoint(s[log.CheckpointKey])
	if err != nil {
		t.Fatal(err)
	}
	return c.Tree
}

// oneMoreShown changes the first votes for smith that a page shows.
func oneMoreShown(t *testing.T, page []byte) []byte {
	shown := regexp.MustCompile(`(<tr data-s="smith".*?data-v>[0-9,]*)([0-8])(</td>)`)
	at := shown.FindSubmatchIndex(page)
	if at == nil {
		t.Fatal("the page shows no votes for smith that end in 0 to 8")
	}
	page[at[4]]++
	return page
}

// show serves every case below a path of its own, as a bucket does, and returns
// what each proof said.
func show(t *testing.T, browser string, cases []pageCase) map[string]string {
	t.Helper()
	mux := http.NewServeMux()
	for _, c := range cases {
		d, err := bucket.OpenDirectory(lay(t, c.site))
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle("/"+c.Name+"/", http.StripPrefix("/"+c.Name, d.Handler()))
	}
	list, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	mux.HandleFunc("GET /watch", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, watcher, list)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	profile, err := os.MkdirTemp("", "browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // its children end a moment later, and write into the profile until then
		for begun := time.Now(); os.RemoveAll(profile) != nil && time.Since(begun) < time.Minute; {
			time.Sleep(50 * time.Millisecond)
		}
	})
	cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir="+profile,
		"--virtual-time-budget=60000", "--dump-dom", server.URL+"/watch")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := regexp.MustCompile(`(?s)SAID(.*)DIAS`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("the pages were not done:\n%s", out)
	}
	said := map[string]string{}
	if err := json.Unmarshal([]byte(html.UnescapeString(string(m[1]))), &said); err != nil {
		t.Fatal(err)
	}
	return said
}
