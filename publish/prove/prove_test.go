package prove_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestTheVectorsOfTheLogsFormats(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node here to run vectors_test.mjs: ", err)
	}
	for _, way := range []string{"WEBCRYPTO=", "WEBCRYPTO=1"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), node, "--no-warnings", "--test", "vectors_test.mjs")
			cmd.Env = append(os.Environ(), way)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "# pass 8\n") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
