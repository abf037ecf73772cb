package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"tallystream/aggregate/ledger"
	"tallystream/publish/audit"
	"tallystream/publish/bucket"
	"tallystream/schemas"
)

// planted is a difference, and the lines that must name it: each pattern must
// match a line, and each line a pattern.
type planted struct {
	name  string
	plant func(t *testing.T, cfg *audit.Config)
	want  []string
}

// nth is the entry that is forged.
const nth = 5

func forge(cfg *audit.Config, f forged) {
	f.Ledger = cfg.Ledger
	cfg.Ledger = &f
}

// isNth says that x is the forged entry: the fifth of the county's one partition.
func isNth(x *schemas.Entry) bool { return x.Partition == 0 && x.Seq == nth }

func onNth(change func(x *schemas.Entry, b []byte) ([]byte, error)) func(*schemas.Entry, []byte) ([]byte, error) {
	return func(x *schemas.Entry, b []byte) ([]byte, error) {
		if !isNth(x) {
			return b, nil
		}
		return change(x, b)
	}
}

func repaint(t *testing.T, cfg *audit.Config, name string, edit func([]byte) ([]byte, error)) {
	key := keyOf(t, *cfg, name)
	cfg.Bucket = repainted{cfg.Bucket, func(k string, b []byte) ([]byte, error) {
		if k != key {
			return b, nil
		}
		return edit(b)
	}}
}

// replaced changes the first match, and fails where there is none.
func replaced(b []byte, pattern, by string) ([]byte, error) {
	at := regexp.MustCompile(pattern).FindSubmatchIndex(b)
	if at == nil {
		return nil, fmt.Errorf("no %s in %.200s", pattern, b)
	}
	from, to := at[0], at[1]
	if len(at) > 2 {
		from, to = at[2], at[3]
	}
	return append(append(bytes.Clone(b[:from]), by...), b[to:]...), nil
}

const entryNth = `entry 5 of partition 0`

// TestEachPlantedDifferenceIsNamed plants one at a time into a night without
// any, and holds what is said about it.
func TestEachPlantedDifferenceIsNamed(t *testing.T) {
	n := aNight(t, "county")
	probe := n.open(t)
	county := probe.Election.Counties[0].ID
	csv := "csv/" + string(county) + ".csv"
	for _, c := range []planted{
		{"nothing", func(*testing.T, *audit.Config) {}, nil},
		{"a tally of the ledger", func(t *testing.T, cfg *audit.Config) {
			s := cfg.Election.Counties[0].Sections[1]
			forge(cfg, forged{tally: func(c schemas.CountyIndex, t *ledger.Tally) {
				if c == 0 {
					t.Row[s.Offset+1]++
				}
			}})
		}, []string{`^tally\|county \S+\|` + string(probe.Election.Counties[0].ID) + `\|\|\S+\|\S+\|early\|`}},
		{"a tally of a contest that is reported by one unit more", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{tally: func(c schemas.CountyIndex, t *ledger.Tally) {
				if c == 0 {
					t.Row[0]++
				}
			}})
		}, []string{`^tally\|.*\|ballots-cast\|\(units reporting\)\|`}},
		{"an entry that is not there", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(*schemas.Entry, []byte) ([]byte, error) { return nil, errGone })})
		}, []string{`^entry\|` + entryNth + `\|.*does not have it`, `^unit\|`, `^tally\|`, `^snapshot\|.*\|submissions accepted$`, `^document\|`, `^file\|`}},
		{"an entry whose record cannot be read", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(*schemas.Entry, []byte) ([]byte, error) { return nil, errors.New("planted: unreadable") })})
		}, []string{`^entry\|` + entryNth + `\|.*planted: unreadable`, `^unit\|`, `^tally\|`, `^snapshot\|.*\|submissions accepted$`, `^document\|`, `^file\|`}},
		{"an entry that says another revision", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(x *schemas.Entry, b []byte) ([]byte, error) { x.Revision += 7; return b, nil })})
		}, []string{`^record\|` + entryNth + `\|.*its record is revision 1, the entry says 8$`, `^unit\|`}},
		{"an entry that says another decision", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(x *schemas.Entry, b []byte) ([]byte, error) {
				x.Kind, x.Hold = schemas.EntryHeld, schemas.HoldLowered
				return b, nil
			})})
		}, []string{`^decision\|` + entryNth + `\|.*the ledger has it as held \(count-lowered\), by the rules it is counted$`, `^unit\|`}},
		{"an entry that lies elsewhere in the stream", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(x *schemas.Entry, b []byte) ([]byte, error) { x.At = 0; return b, nil })})
		}, []string{`^entry\|` + entryNth + `\|.*its record lies at 0, not behind the one before it`, `^unit\|`}},
		{"another digit in a record's body", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(x *schemas.Entry, b []byte) ([]byte, error) { return replaced(b, `"counts":\[[\d,]*?([0-8])`, "9") })})
		}, []string{`^record\|` + entryNth + `\|.*has the digest`, `^record\|` + entryNth, `^decision\|` + entryNth + `\|.*held \(poison\): .*sha256`, `^tally\|`, `^snapshot\|`, `^document\|`, `^file\|`, `^listing\|holds.ndjson\|`}},
		{"a record without its signature line", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(x *schemas.Entry, b []byte) ([]byte, error) { return replaced(b, `\n(— [^\n]*\n)`, "") })})
		}, []string{`^decision\|` + entryNth + `\|.*held \(poison\)`, `^record\|` + entryNth, `^tally\|`, `^snapshot\|`, `^document\|`, `^file\|`, `^listing\|holds.ndjson\|`}},
		{"a record signed by a key of nobody's", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(x *schemas.Entry, b []byte) ([]byte, error) { return replaced(b, `\n— (official)`, "offizial") })})
		}, []string{`^signature\|` + entryNth + `\|.*not in the roster`}},
		{"a signature over other bytes", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{entry: onNth(func(x *schemas.Entry, b []byte) ([]byte, error) {
				return replaced(b, `\n— \S+ \S{40}(\S{4})`, "AAAA")
			})})
		}, []string{`^signature\|` + entryNth + `\|.*does not verify`}},
		{"a unit's list that lacks an entry", func(t *testing.T, cfg *audit.Config) {
			forge(cfg, forged{unit: func(x *schemas.Entry) bool { return !isNth(x) }})
		}, []string{`^unit\|ledger\|`}},
		{"a head that goes back", func(t *testing.T, cfg *audit.Config) {
			views := 0
			forge(cfg, forged{heads: func(h []ledger.Head) {
				if views++; views == 2 {
					h[0].Checkpoint--
				}
			}})
		}, []string{`^head\|head of partition 0\|`}},
		{"a digit more in a county's document", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, "county/"+string(county), func(b []byte) ([]byte, error) { return replaced(b, `"votes":\{"[^"]+":\[(\d+)`, "987654321") })
		}, []string{`^object\|county/` + string(county) + `\|`, `^tally\|county ` + string(county) + `\|.*\|987654321\|$`}},
		{"a line less in a contest's document", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, "contest/president", func(b []byte) ([]byte, error) { return replaced(b, `^[^\n]*\n`, "") })
		}, []string{`^object\|contest/president\|`, `^document\|contest/president\|.*there is no line of contest president and unit`}},
		{"the election's total is another", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, "election", func(b []byte) ([]byte, error) { return replaced(b, `"contest":"president".*?"reporting":(\d+)`, "1") })
		}, []string{`^object\|election\|`, `^document\|election\|\S+\|\|president\|\(units reporting\)\|`}},
		{"a document that is not there", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, "election", func([]byte) ([]byte, error) { return nil, bucket.ErrNotFound })
		}, []string{`^object\|election\|.*the bucket does not have`}},
		{"another number in a county's CSV", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, csv, func(b []byte) ([]byte, error) { return replaced(b, `president,[^,]+,early,(\d+)`, "31415926") })
		}, []string{`^object\|` + csv, `^file\|` + csv + `\|` + string(county) + `\|\S+\|president\|\S+\|early\|-\|\d+\|31415926\|$`}},
		{"a row less in a county's CSV", func(t *testing.T, cfg *audit.Config) {
			repaint(t, cfg, csv, func(b []byte) ([]byte, error) { return replaced(b, `[^\n]*president,[^,]+,early,\d+\n`, "") })
		}, []string{`^object\|` + csv, `^file\|` + csv + `\|` + string(county) + `\|.*\|president\|.*the table does not have it$`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := n.open(t)
			if strings.Contains(c.name, "contest's document") {
				if underRace {
					t.Skip("skipped: a state's night takes minutes with the race detector")
				}
				cfg = aNight(t, "state").open(t) // a county's contests have none of their own
			}
			c.check(t, cfg)
		})
	}
}

// check plants the difference and audits.
func (c *planted) check(t *testing.T, cfg audit.Config) {
	c.plant(t, &cfg)
	r, err := audit.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, told(r), c.want)
	if (r.Found > 0) != (len(c.want) > 0) {
		t.Errorf("%d differences", r.Found)
	}
}

// holds says whether patterns and lines match each other.
func holds(t *testing.T, lines string, want []string) {
	t.Helper()
	matched := make([]bool, len(want))
	for _, line := range strings.Split(strings.TrimSuffix(lines, "\n"), "\n") {
		known := line == ""
		for i, pattern := range want {
			if regexp.MustCompile(pattern).MatchString(line) {
				known, matched[i] = true, true
			}
		}
		if !known {
			t.Errorf("not planted: %s", line)
		}
	}
	for i := range want {
		if !matched[i] {
			t.Errorf("not named: %s\nsaid: %.2000s", want[i], lines)
		}
	}
}
