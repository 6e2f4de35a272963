// Reads what `egctl x translate --to ir -o json` prints and writes the rate limit service's configuration as YAML
// documents: the same function of Envoy Gateway that its controller serves to that service.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/envoyproxy/gateway/internal/ir"
	"github.com/envoyproxy/gateway/internal/xds/translator"
)

func main() {
	var document struct {
		XdsIR map[string]*ir.Xds `json:"xdsIR"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&document); err != nil {
		fail(err)
	}
	for _, xds := range document.XdsIR {
		for _, config := range translator.BuildRateLimitServiceConfig(xds.HTTP) {
			text, err := translator.GetRateLimitServiceConfigStr(config)
			if err != nil {
				fail(err)
			}
			fmt.Print("---\n" + text)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "ratelimitconfig:", err)
	os.Exit(1)
}
