package publish_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/schemas"
)

// pages publishes a night and returns its pages.
func pages(t *testing.T, change func(*publish.Config), play func(b *books)) map[string]string {
	out := map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), change)
		synctest.Wait() // until the first snapshot stands: it must not depend on who runs first
		play(b)
		n.mustFinish()
		n.mustEnd()
		for _, k := range store.keys() {
			if strings.HasSuffix(k, ".html") {
				out[k] = string(store.must(k))
			}
		}
	})
	return out
}

func someResults(b *books) {
	b.count("oak.1", 1, row(1, 30_000, 40_000 /* bond */, 1, 10, 11, 12, 13 /* governor */, 1, 7, 8, 9, 10, 14, 22, 0, 0 /* president */, 1, 1200, 34, 5, 6))
	b.submit("fir.1", 2, row(1, 1, 1, 1, 0, 0, 0, 1), schemas.EntryHeld, schemas.HoldLowered)
}

func TestEachPlaceAndContestHasItsPage(t *testing.T) {
	got := pages(t, nil, someResults)
	for _, want := range []string{
		"index.html", "contests.html", "state/north.html", "state/south.html", "county/oak.html", "county/ash.html", "county/fir.html",
		"contest/president.html", "contest/governor.html", "contest/bond.html", "corrections.html", "holds.html",
	} {
		if got[want] == "" {
			t.Errorf("no %s", want)
		}
	}
	if len(got) != 12 {
		t.Errorf("%d pages", len(got))
	}
}

func TestPagesAreWellFormedAndNothingEscapesItsQuotes(t *testing.T) {
	for name, page := range pages(t, nil, someResults) {
		if strings.Contains(page, "<script>") || strings.Contains(page, "O'Smith") || strings.Contains(page, "<B>") {
			t.Errorf("%s: a name stands in the page unescaped", name)
		}
		if strings.Contains(page, "style=") || strings.Contains(page, " on") && regexp.MustCompile(`<[^>]* on[a-z]+=`).MatchString(page) {
			t.Errorf("%s: markup that a Content-Security-Policy without unsafe-inline forbids", name)
		}
		// Our pages happen to be XML but for void elements and bare attributes.
		x := regexp.MustCompile(`<(meta|link|input)([^>]*)>`).ReplaceAllString(page, "<$1$2/>")
		x = regexp.MustCompile(`(<[^>]*?) (data-[a-z]+|hidden)([ >])`).ReplaceAllString(x, `$1 $2=""$3`)
		x = regexp.MustCompile(`(<[^>]*?) (data-[a-z]+|hidden)([ >])`).ReplaceAllString(x, `$1 $2=""$3`)
		x = strings.ReplaceAll(x, "<!doctype html>", "")
		dec := xml.NewDecoder(strings.NewReader(x))
		for {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
}

func TestAPageShowsItsNumbersWithoutAScript(t *testing.T) {
	got := pages(t, nil, someResults)
	plain := func(name string) string {
		s := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(got[name], " ")
		return strings.Join(strings.Fields(s), " ")
	}
	for _, c := range []struct{ page, want string }{
		{"county/oak.html", "O&#39;Smith &#34;Sam&#34; A leading 1,234 99.1% 1,200 34"},
		{"county/oak.html", "1 of 2 units reporting ( 50.0% )"},
		{"county/oak.html", "Ballots counted: 70,000"},
		{"contest/president.html", "By county: votes counted so far County O&#39;Smith &#34;Sam&#34; Jones Reporting Ash &amp; Elm, North 0 0 0 / 1"},
		{"contest/governor.html", "Undervotes 36 14 22"},
		{"contest/bond.html", "A contest of Oak ."},
		{"index.html", "1 submissions were accepted and are held"},
		{"index.html", "A count is lower than before, and the submission is not a correction. 1"},
		{"index.html", "States: units reporting State Reporting Units Ballots North 1 3 70,000 South 0 1 0"},
		{"state/south.html", "0 of 1 units reporting"},
	} {
		if !strings.Contains(plain(c.page), c.want) {
			t.Errorf("%s does not say %q:\n%s", c.page, c.want, plain(c.page))
		}
	}
}

// TestReasonsAreListedWhileSomethingIsHeld, and not when all is settled: a table
// without rows says nothing.
func TestReasonsAreListedWhileSomethingIsHeld(t *testing.T) {
	for _, settled := range []bool{false, true} {
		got := pages(t, nil, func(b *books) {
			someResults(b)
			if settled {
				b.release(b.held[0], schemas.ReleaseChecked, "Held against the tape.")
			}
		})
		for page, want := range map[string]map[bool]string{
			"holds.html": {false: "Held now: 1, released: 0", true: "Held now: 0, released: 1"},
			"index.html": {false: "1 submissions were accepted and are held", true: "None any more"},
		} {
			if !strings.Contains(got[page], want[settled]) || strings.Contains(got[page], "Held submissions by reason") == settled {
				t.Errorf("%s, all settled %t: want %q, and the table of reasons only before:\n%s", page, settled, want[settled], got[page])
			}
		}
	}
}

func TestEveryLinkOfAPageLeadsSomewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		someResults(b)
		n.mustFinish()
		n.mustEnd()
		for _, k := range store.keys() {
			if !strings.HasSuffix(k, ".html") {
				continue
			}
			for _, m := range regexp.MustCompile(`(?:href|src)="([^"#]+)(?:#[^"]*)?"`).FindAllStringSubmatch(string(store.must(k)), -1) {
				target := m[1]
				if strings.HasPrefix(target, "data:") {
					continue
				}
				if up, ok := strings.CutPrefix(target, "../"); ok {
					target = up
					if !strings.Contains(k, "/") {
						t.Errorf("%s links above the bucket: %s", k, m[1])
					}
				} else if strings.Contains(k, "/") {
					t.Errorf("%s links beside itself: %s", k, m[1])
				}
				if _, err := store.Get(t.Context(), target); err != nil {
					t.Errorf("%s links to %s: %v", k, m[1], err)
				}
			}
		}
	})
}

func TestOnlyPagesWhoseNumbersChangedAreWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		b.count("oak.1", 1, oak1)
		n.hint()
		// The heartbeat at 60 s finds nothing to write, but begins the pages'
		// interval: what changes at 62 s is on the front page at once, on the
		// others at 65 s.
		time.Sleep(62 * time.Second)
		store.mu.Lock()
		store.history = nil
		store.mu.Unlock()
		b.count("fir.1", 1, row(1, 9, 9, 1, 2, 2, 2, 2))
		n.hint()
		time.Sleep(10 * time.Second)
		n.mustEnd()
		var html []string
		for _, k := range store.history {
			if strings.HasSuffix(k, ".html") {
				html = append(html, k)
			}
		}
		if got := strings.Join(html, " "); got != "index.html index.html county/fir.html contest/president.html state/south.html" {
			t.Errorf("written: %s", got)
		}
	})
}

func TestPagesAreStableBytes(t *testing.T) {
	a, b := pages(t, nil, someResults), pages(t, nil, someResults)
	for name := range a {
		if !bytes.Equal([]byte(a[name]), []byte(b[name])) {
			t.Errorf("%s differs between two runs", name)
		}
	}
}
