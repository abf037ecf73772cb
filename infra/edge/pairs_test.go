package edge

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRulesThatWouldNotDoWhatTheySayAreRefused(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"geo", "ru", "two capital letters"},
		{"geo", "RU,KP", "two capital letters"},
		{"geo", "RU  KP", "one space"},
		{"geo", "", "two capital letters"},
		{"geo", "!", "closes every country"},
		{"geo", "!US", "two capital letters"},
		{"geo.ingest", "USA", "two capital letters"},
		{"hops", "198.51.100.0/25", "IPv4 /24 or /16"},
		{"hops", "198.51.100.9,198.51.100.10", "no address"},
		{"ban/198.51.100.1/24", "refuse", "begins at"},
		{"ban/2001:db8::1", "refuse", `write "2001:db8:0:0:0:0:0:1"`},
		{"ban/2001:db8::/48", "refuse", `write "2001:db8:0::/48"`},
		{"ban/2001:db8::/32", "refuse", "IPv6 /64 or /48"},
		{"ban/::ffff:192.0.2.7", "refuse", "no address"},
		{"ban/0.0.0.0/0", "refuse", "IPv4 /24 or /16"},
		{"ban/192.0.2.7", "403", "want refuse or decoy"},
		{"ban/example.org", "refuse", "no address"},
		{"agents", "BadBot", "lower-case"},
		{"agents", "a", "meets everybody"},
		{"agents", "badbot|", "meets everybody"},
		{"agents", "bad.*bot", "lower-case"},
		{"decoys", strings.Repeat("abcd|", 32) + "abcd", "at most 32"},
		{"agents", strings.Repeat("a", 1020), "at most 1024"},
		{"bans/192.0.2.7", "refuse", "is no rule"},
		{"decoy", "on", "is no rule"},
	} {
		err := Pairs{c.key: c.value}.Check()
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s = %q: %v, want %q", c.key, c.value, err, c.want)
		}
	}
	err := Pairs{"geo": "ru", "ban/x": "refuse"}.Check()
	if err == nil || strings.Count(err.Error(), "rule ") != 2 {
		t.Errorf("want both mistakes at once: %v", err)
	}
}

func TestAFileOfRulesIsReadWholeOrNotAtAll(t *testing.T) {
	for text, want := range map[string]string{
		`{"data":[{"key":"geo","value":"RU"},{"key":"geo","value":"US"}]}`: "twice",
		`{"data":[{"key":"geo","vaule":"RU"}]}`:                            "vaule",
		`{"data":[{"key":"geo","value":"RU"}`:                              "want {",
		`{"data":[]} {}`:                                                   "more behind",
		`{"geo":"RU"}`:                                                     "geo",
	} {
		if _, err := ReadPairs(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// drawAddress draws from few, so that bans meet.
func drawAddress(r *rapid.T) netip.Addr {
	near := func(name string) byte { return byte(rapid.IntRange(0, 2).Draw(r, name)) }
	if rapid.Bool().Draw(r, "IPv4") {
		return netip.AddrFrom4([4]byte{198, 51, near("third"), near("fourth")})
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 5: near("third group"), 7: near("fourth group"), 9: near("fifth"), 15: near("last")})
}

func drawBlock(r *rapid.T) netip.Prefix {
	a := drawAddress(r)
	bits := []int{32, 24, 16}
	if a.Is6() {
		bits = []int{128, 64, 48}
	}
	return netip.PrefixFrom(a, rapid.SampledFrom(bits).Draw(r, "bits")).Masked()
}

// blockText is how a person writes it.
func blockText(b netip.Prefix) string {
	if b.IsSingleIP() {
		return b.Addr().String()
	}
	return b.String()
}

// TestABanMeetsItsBlockAndNothingElse holds the functions' string work against
// netip, for addresses in each spelling that a proxy may give.
func TestABanMeetsItsBlockAndNothingElse(t *testing.T) {
	boxes := []*sandbox{newSandbox(t, Results), newSandbox(t, Ingest)}
	rapid.Check(t, func(r *rapid.T) {
		store := Pairs{}
		var refused, decoyed, trusted bool
		viewer := drawAddress(r)
		for range rapid.IntRange(0, 4).Draw(r, "bans") {
			b := drawBlock(r)
			key, err := BanKey(blockText(b))
			if err != nil {
				r.Fatal(err)
			}
			if _, twice := store[key]; twice {
				continue
			}
			store[key] = rapid.SampledFrom([]string{BanRefuse, BanDecoy}).Draw(r, "how")
			refused = refused || (b.Contains(viewer) && store[key] == BanRefuse)
			decoyed = decoyed || (b.Contains(viewer) && store[key] == BanDecoy)
		}
		if rapid.Bool().Draw(r, "a hop") {
			b := drawBlock(r)
			key, err := BanKey(blockText(b))
			if err != nil {
				r.Fatal(err)
			}
			store["hops"] = strings.TrimPrefix(key, "ban/")
			trusted = b.Contains(viewer)
		}
		if err := store.Check(); err != nil {
			r.Fatalf("%v: %v", store, err)
		}
		spelled := viewer.String()
		if rapid.Bool().Draw(r, "spelled out") {
			spelled = viewer.StringExpanded()
		}
		for i, box := range boxes {
			box.store = store
			got, err := box.run(request{Method: "GET", Path: []string{"/latest", "/v1/key"}[i], IP: spelled})
			want := 0
			switch {
			case trusted:
			case refused, decoyed && i == 1:
				want = 403
			case decoyed:
				want = 200
			}
			if err != nil || got.Status != want {
				r.Fatalf("%s with %v: %+v, %v, want %d", spelled, store, got, err, want)
			}
		}
	})
}
