package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheCommandSaysWhatAnEdgeTakes(t *testing.T) {
	const file = "../testdata/bans.json"
	for _, c := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"check", file}, "12 rules are in order\n"},
		{[]string{"ban", "2001:DB8::1"}, "ban/2001:db8:0:0:0:0:0:1\n"},
		{[]string{"ban", "2001:db8::/64"}, "ban/2001:db8:0:0::/64\n"},
		{[]string{"ban", "192.0.2.0/24"}, "ban/192.0.2.0/24\n"},
		{[]string{"vcl", file}, "acl refused {\n    \"192.0.2.7\";\n    \"198.18.5.0\"/24;\n"},
		{[]string{"puts", file}, `[{"Key":"ban/192.0.2.7","Value":"refuse"},`},
	} {
		var out bytes.Buffer
		if err := run(c.arguments, &out); err != nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: %v\n%s\nwant %s", c.arguments, err, out.String(), c.want)
		}
	}
	for _, c := range [][]string{{}, {"check"}, {"ban", "x"}, {"what", file}, {"check", "missing.json"}} {
		if err := run(c, &bytes.Buffer{}); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
}

func TestPutsAreAsManyAsOneRequestTakes(t *testing.T) {
	var data []string
	for i := range 120 {
		data = append(data, fmt.Sprintf(`{"key":"ban/192.0.2.%d","value":"refuse"}`, i))
	}
	file := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(file, []byte(`{"data":[`+strings.Join(data, ",")+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run([]string{"puts", file}, &out); err != nil {
		t.Fatal(err)
	}
	total := 0
	for line := range strings.Lines(out.String()) {
		var puts []struct{ Key, Value string }
		if err := json.Unmarshal([]byte(line), &puts); err != nil || len(puts) > 50 {
			t.Errorf("%d puts in a line: %v", len(puts), err)
		}
		total += len(puts)
	}
	if total != 120 {
		t.Errorf("%d puts of 120 rules", total)
	}
}
