package holds

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"tallystream/schemas"
)

// tab is a tab of a browser, driven by its DevTools protocol.
type tab struct {
	*testing.T
	conn *websocket.Conn
	last int // number of the last command
}

// openTab starts a browser, or skips the test where there is none.
func openTab(t *testing.T) *tab {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here to show pages: ", err)
	}
	profile, err := os.MkdirTemp("", "browser")
	must(t, err)
	browser := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--user-data-dir="+profile, "about:blank")
	must(t, browser.Start())
	t.Cleanup(func() {
		_ = browser.Process.Kill()
		_ = browser.Wait()
		// Its children end a moment later, and write into the profile until then.
		for begun := time.Now(); os.RemoveAll(profile) != nil && time.Since(begun) < patience; {
			time.Sleep(50 * time.Millisecond)
		}
	})
	return &tab{T: t, conn: attach(t, filepath.Join(profile, "DevToolsActivePort"))}
}

// attach waits until the browser says in the file where it listens, and connects
// to its tab.
func attach(t *testing.T, file string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		b, _ := os.ReadFile(file) // it comes when the browser is ready
		if port, _, ok := strings.Cut(string(b), "\n"); ok {
			for _, target := range targets(t, port) {
				if target.Type != "page" {
					continue
				}
				conn, _, err := websocket.Dial(ctx, target.Address, nil)
				must(t, err)
				conn.SetReadLimit(16 << 20)
				t.Cleanup(func() { _ = conn.CloseNow() })
				return conn
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("the browser does not start")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type target struct {
	Type    string `json:"type"`
	Address string `json:"webSocketDebuggerUrl"`
}

func targets(t *testing.T, port string) (out []target) {
	t.Helper()
	res, err := http.Get("http://127.0.0.1:" + port + "/json/list")
	must(t, err)
	defer res.Body.Close()
	must(t, json.NewDecoder(res.Body).Decode(&out))
	return out
}

// patience is how long a browser on a busy machine may take for anything.
const patience = time.Minute

// do gives a command and decodes its result. The error is the page's.
func (b *tab) do(method string, params, result any) error {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	b.last++
	must(b, wsjson.Write(ctx, b.conn, map[string]any{"id": b.last, "method": method, "params": params}))
	for {
		var answer struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		must(b, wsjson.Read(ctx, b.conn, &answer))
		if answer.ID != b.last {
			continue // an event
		}
		if answer.Error != nil {
			return fmt.Errorf("%s: %s", method, answer.Error)
		}
		if result != nil {
			must(b, json.Unmarshal(answer.Result, result))
		}
		return nil
	}
}

// show goes to a page as soon as it is published: pages of places come behind
// their snapshot.
func (b *tab) show(url string) {
	b.Helper()
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(url)
		must(b, err)
		must(b, res.Body.Close())
		if res.StatusCode == http.StatusOK {
			break
		}
		if time.Since(begun) > patience {
			b.Fatalf("%s: %s", url, res.Status)
		}
	}
	var went struct {
		ErrorText string `json:"errorText"`
	}
	must(b, b.do("Page.navigate", map[string]any{"url": url}, &went))
	if went.ErrorText != "" {
		b.Fatalf("%s: %s", url, went.ErrorText)
	}
}

// evaluate is what an expression of the page is, spelled. It fails while the page
// is left for another one.
func (b *tab) evaluate(expression string) (string, error) {
	b.Helper()
	var said struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
	}
	err := b.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &said)
	return fmt.Sprint(said.Result.Value), err
}

// says is an expression of a page that stays.
func (b *tab) says(expression string) string {
	b.Helper()
	said, err := b.evaluate(expression)
	must(b, err)
	return said
}

// until waits until an expression has a part, on this page or the one that comes.
func (b *tab) until(expression, part string) {
	b.Helper()
	said := ""
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(50 * time.Millisecond) {
		var err error
		if said, err = b.evaluate(expression); err == nil && strings.Contains(said, part) {
			return
		}
	}
	b.Fatalf("%s is %q, want %q; the page is %q", expression, said, part, b.says(`location.href + " " + document.body?.innerText`))
}

// TestALivePageSaysThatNumbersFell shows a county's page in a browser while two
// supervisors lower its numbers: the link to why comes without the page being
// loaded again, and leads there.
func TestALivePageSaysThatNumbersFell(t *testing.T) {
	t.Parallel() // it waits for pages
	b := openTab(t)
	r := begin(t, func(*schemas.Definition) {})
	const unit = "leon-1102"
	r.report(unit, 1, 300)
	r.report(unit, 2, 200)
	r.listed(`"unit":"`+unit+`"`, `"code":"count-lowered"`, `"state":"open"`)

	const line = `document.querySelector('[data-line="president leon"]')`
	b.show(r.night.PublicURL() + "/county/leon.html")
	b.until(`document.querySelector('[data-state="live"]')?.textContent`, "each change is checked")
	b.until(line+`.innerText`, "300")
	b.says(`window.loaded = "once"`)
	if n := b.says(`document.querySelectorAll("[data-c]").length`); n != "0" {
		t.Fatalf("%s links to corrections before there is one", n)
	}
	release := &ReleaseCommand{pick: pick{Unit: unit, Revision: 2}, because: fine, siteFlags: r.site(), sendFlags: r.sending(), KeyFile: []string{r.path("ann"), r.path("bob")}}
	if _, errs, status := r.run(release, "y\n"); status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	b.until(line+`.innerText`, "200")
	link := line + `.querySelector("[data-c]")`
	b.until(link+`?.textContent`, "1 correction")
	if b.says(`window.loaded`) != "once" {
		t.Error("the page was loaded again")
	}
	if n := b.says(`[...document.querySelectorAll("[data-line]")].filter(e => e.querySelectorAll("[data-c]").length > 1).length`); n != "0" {
		t.Errorf("%s lines have more than one link", n)
	}
	r.listed(`"unit":"`+unit+`"`, `"state":"released"`)
	b.says(`setTimeout(() => ` + link + `.click())`) // the answer comes before the page is left
	b.until(`location.pathname + location.hash`, "/corrections.html#at-leon")
	b.until(`document.getElementById("at-leon")?.innerText`, fine.Text)
}
