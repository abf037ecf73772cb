package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"tallystream/aggregate"
	"tallystream/fanout"
	"tallystream/ingest"
	"tallystream/publish"
	"tallystream/service"
)

// services is the part of the command line that units use, made of the commands themselves.
type services struct {
	service.LogOptions
	Ingest    ingest.Command    `cmd:""`
	Aggregate aggregate.Command `cmd:""`
	Publish   publish.Command   `cmd:""`
	Fanout    fanout.Command    `cmd:""`
}

var unitNames = []string{"aggregate", "fanout", "ingest", "publish"}

// settings of a unit by name; one that stands twice has two values.
type settings map[string][]string

func readUnit(t *testing.T, name string) settings {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("systemd", "tallystream-"+name+".service"))
	if err != nil {
		t.Fatal(err)
	}
	out := settings{}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			out[key] = append(out[key], value)
		}
	}
	return out
}

func parseStart(t *testing.T, name string) *services {
	t.Helper()
	start := readUnit(t, name)["ExecStart"]
	if len(start) != 1 {
		t.Fatalf("%s has %d lines ExecStart", name, len(start))
	}
	words := strings.Fields(start[0])
	if words[0] != "/usr/local/bin/tallystream" || words[1] != name {
		t.Errorf("%s runs %v", name, words[:2])
	}
	var s services
	parser, err := kong.New(&s, kong.Exit(func(int) { t.Fatal("the parser wants to exit") }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(words[1:]); err != nil {
		t.Fatalf("%s: %v", start[0], err)
	}
	return &s
}

func TestTheUnitsStartTheServicesThatThereAreAndTheyMeet(t *testing.T) {
	i, a, p, f := parseStart(t, "ingest").Ingest, parseStart(t, "aggregate").Aggregate, parseStart(t, "publish").Publish, parseStart(t, "fanout").Fanout
	for name, o := range map[string]service.Options{"ingest": i.Options, "aggregate": a.Options, "publish": p.Options} {
		if o.Bus != "nats://"+f.BusListen || o.Data != f.Data || o.Stores != service.Embedded {
			t.Errorf("%s: bus %s, data %s, stores %s; fanout's are %s and %s", name, o.Bus, o.Data, o.Stores, f.BusListen, f.Data)
		}
	}
	if p.Bucket != f.Bucket {
		t.Errorf("publish writes %s, fanout serves %s", p.Bucket, f.Bucket)
	}
	used := map[string]bool{}
	for _, address := range []string{i.Listen, i.Status, a.Status, p.Status, f.Listen, f.BusListen, f.Status} {
		host, _, err := net.SplitHostPort(address)
		if err != nil || !net.ParseIP(host).IsLoopback() || used[address] {
			t.Errorf("%q: want an address of this machine that nobody else has (%v)", address, err)
		}
		used[address] = true
	}
}

// hardened are the settings that every unit must have, word for word.
var hardened = map[string]string{
	"NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "AmbientCapabilities": "", "ProtectSystem": "strict", "ProtectHome": "yes",
	"PrivateTmp": "yes", "PrivateDevices": "yes", "DevicePolicy": "closed", "PrivateUsers": "yes", "ProtectClock": "yes", "ProtectHostname": "yes",
	"ProtectControlGroups": "yes", "ProtectKernelLogs": "yes", "ProtectKernelModules": "yes", "ProtectKernelTunables": "yes",
	"ProtectProc": "invisible", "RestrictNamespaces": "yes", "RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "LockPersonality": "yes",
	"MemoryDenyWriteExecute": "yes", "RestrictAddressFamilies": "AF_INET AF_INET6", "SystemCallArchitectures": "native",
	"SystemCallFilter": "@system-service|~@privileged @resources", "IPAddressDeny": "any", "IPAddressAllow": "localhost",
	"KeyringMode": "private", "RemoveIPC": "yes", "Restart": "always", "StartLimitIntervalSec": "0",
}

func TestEveryUnitIsHardenedAndBounded(t *testing.T) {
	for _, name := range unitNames {
		u := readUnit(t, name)
		for key, want := range hardened {
			if got, ok := u[key]; !ok || strings.Join(got, "|") != want {
				t.Errorf("%s: %s=%v, want %s", name, key, got, want)
			}
		}
		hard, soft := bytesOf(t, strings.Join(u["MemoryMax"], " ")), bytesOf(t, strings.TrimPrefix(strings.Join(u["Environment"], " "), "GOMEMLIMIT="))
		if soft < hard*7/10 || soft > hard*9/10 {
			t.Errorf("%s: the collector hurries from %d bytes on, and the kernel kills at %d", name, soft, hard)
		}
		if u["LimitNOFILE"] == nil || u["TasksMax"] == nil {
			t.Errorf("%s has no bound of descriptors or tasks", name)
		}
	}
	f := readUnit(t, "fanout")
	if parsed := parseStart(t, "fanout").Fanout; f["LimitNOFILE"][0] != "131072" || parsed.Limits.Connections+parsed.Limits.PageConnections > 131072 {
		t.Errorf("fanout may have %d connections and %s descriptors", parsed.Limits.Connections, f["LimitNOFILE"])
	}
}

func bytesOf(t *testing.T, s string) int64 {
	t.Helper()
	var n int64
	var unit string
	if _, err := fmt.Sscanf(s, "%d%s", &n, &unit); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return n << map[string]int{"MiB": 20, "G": 30}[unit]
}

func TestNobodySeesAKeyThatIsNotHis(t *testing.T) {
	const keys = "/var/lib/tallystream/data/keys"
	want := map[string][]string{"ingest": {"-" + keys + "/publish.key"}, "aggregate": {"-" + keys}, "publish": {"-" + keys + "/ingest.key"}}
	for name, hidden := range want {
		if got := readUnit(t, name)["InaccessiblePaths"]; !slices.Equal(got, hidden) {
			t.Errorf("%s does not see %v, want %v", name, got, hidden)
		}
	}
	f := readUnit(t, "fanout")
	if got := f["BindReadOnlyPaths"]; !slices.Equal(f["TemporaryFileSystem"], []string{"/var/lib/tallystream:ro"}) ||
		!slices.Equal(got, []string{"/var/lib/tallystream/data/definition.json /var/lib/tallystream/public"}) {
		t.Errorf("the service that faces the public sees %v", got)
	}
	if f["User"][0] == readUnit(t, "publish")["User"][0] || f["StateDirectory"] != nil {
		t.Error("the service that faces the public is the user that counts, or writes")
	}
}

func TestUsersAndDirectoriesOfTheUnitsAreMade(t *testing.T) {
	users, err := os.ReadFile("systemd/tallystream.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	directories, err := os.ReadFile("systemd/tallystream.tmpfiles")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range unitNames {
		if user := readUnit(t, name)["User"][0]; !regexp.MustCompile(`(?m)^u ` + user + ` `).Match(users) {
			t.Errorf("nobody makes the user %s", user)
		}
	}
	f := parseStart(t, "fanout").Fanout
	for _, path := range []string{f.Data, f.Bucket, "/etc/tallystream"} {
		if !regexp.MustCompile(`(?m)^d ` + path + ` `).Match(directories) {
			t.Errorf("nobody makes %s", path)
		}
	}
}

// mostExposure is systemd's own score, times ten: 0 is a unit that can do nothing.
const mostExposure = 15

func TestSystemdItselfAcceptsTheUnitsAndFindsThemLittleExposed(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not on this machine")
	}
	if help, err := exec.CommandContext(t.Context(), tool, "--help").CombinedOutput(); err != nil || !strings.Contains(string(help), "--offline") {
		t.Skip("this systemd cannot judge unit files that are not installed (before 250)")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, paths := t.TempDir(), []string{}
	for _, name := range []string{"tallystream.target", "tallystream-aggregate.service",
		"tallystream-fanout.service", "tallystream-ingest.service", "tallystream-publish.service"} {
		b, err := os.ReadFile(filepath.Join("systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		// verify wants the program to be there.
		text := strings.ReplaceAll(string(b), "/usr/local/bin/tallystream", self)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(dir, name))
	}
	out, err := exec.CommandContext(t.Context(), tool, append([]string{"verify", "--man=no"}, paths...)...).CombinedOutput()
	if err != nil || len(out) > 0 { // a word that it does not know is only a warning to systemd
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for _, path := range paths[1:] {
		out, err := exec.CommandContext(t.Context(), tool, "security", "--offline=yes", "--no-pager", fmt.Sprintf("--threshold=%d", mostExposure), path).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
		if err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(path), err, out)
		}
	}
}
