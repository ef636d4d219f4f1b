// Command checks asks the libraries of users' tools what they make of our files and objects. Each command reads
// standard input or the files that it is given, prints JSON or findings, and fails if something is wrong.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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

// forEachObject gives what is said of each Kubernetes object on standard input, which are in JSON, one after the other.
// Numbers are as Kubernetes' own clients read them.
func forEachObject(say func(object *unstructured.Unstructured) (any, error)) (any, error) {
	said := []any{}
	for decoder := json.NewDecoder(os.Stdin); ; {
		var text json.RawMessage
		if err := decoder.Decode(&text); errors.Is(err, io.EOF) {
			return said, nil
		} else if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(text); err != nil {
			return nil, err
		}
		answer, err := say(object)
		if err != nil {
			return nil, err
		}
		said = append(said, answer)
	}
}
