package fanout_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A page that uses live.js ends with the documents' bytes, whatever happens:
// 10,000 nights by seed in one process of node. SEED=42 replays one, step by
// step (-v shows it); SEEDS and FIRST choose others.
func TestAPageEndsWithTheDocumentsBytesAfterAnyNight(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node here to run live_seeds.mjs: ", err)
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), node, "--no-warnings", "live_seeds.mjs")
	cmd.Env = os.Environ()
	if testing.Short() && os.Getenv("SEEDS") == "" {
		cmd.Env = append(cmd.Env, "SEEDS=1000")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if text := string(out); os.Getenv("SEED") == "" && (strings.Contains(text, `"deltas":0,`) || strings.Contains(text, `"mismatches":0,`) || strings.Contains(text, `"resyncs":0,`)) {
		t.Error("the nights were too quiet to show anything")
	}
	t.Logf("%s", out)
}
