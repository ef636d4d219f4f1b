// Command checks asks the libraries of users' tools what they make of our files and objects. Each command reads
// standard input or the files that it is given, prints JSON or findings, and fails if something is wrong.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// A command gets its arguments and gives what is to be printed as JSON.
type command func(arguments []string) (any, error)

var commands = map[string]command{
	"promlint": lintMetrics,
	"rules":    parseRules,
	"lua":      runLua,
	"kstatus":  computeStatus,
	"flux":     evaluateHealth,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: checks promlint|rules|lua|kstatus|flux ...")
		os.Exit(2)
	}
	answer, err := commands[os.Args[1]](os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// object reads a Kubernetes object in JSON from standard input.
func object() (map[string]any, error) {
	var object map[string]any
	err := json.NewDecoder(os.Stdin).Decode(&object)
	return object, err
}
