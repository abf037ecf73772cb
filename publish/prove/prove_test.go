package prove_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"tallystream/publish/prove"
	"tallystream/schemas"
)

func TestTheVectorsOfTheLogsFormats(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node here to run vectors_test.mjs: ", err)
	}
	for _, name := range []string{"vectors_test.mjs", "../log/testdata/vectors.json"} { // node reads them, which go test does not see
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
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

func TestPublishedModulesFindEachOtherByTheirContent(t *testing.T) {
	assets, err := prove.Assets()
	if err != nil {
		t.Fatal(err)
	}
	published := map[string]bool{}
	for _, a := range assets {
		if want := schemas.ContentKey("assets", schemas.DigestOf(a.Body), ".js"); a.Key != want {
			t.Errorf("%s lies at %s, by its content it is %s", a.Name, a.Key, want)
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:import|export) .* from "([^"]*)";$`).FindAllSubmatch(a.Body, -1) {
			if key := strings.Replace(string(m[1]), "../", "assets/", 1); !published[key] {
				t.Errorf("%s imports %s, which no module before it is", a.Name, m[1])
			}
		}
		if strings.Contains(string(a.Body), `from "./`) {
			t.Errorf("%s imports a module by its name", a.Name)
		}
		published[a.Key] = true
	}
	if last := assets[len(assets)-1].Name; last != prove.Page || len(assets) < 5 {
		t.Errorf("%d modules, the last is %s", len(assets), last)
	}
}
