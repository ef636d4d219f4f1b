package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// computeStatus: `kstatus <object.json`. Prints {"status", "message"} as kstatus computes them.
func computeStatus([]string) (any, error) {
	content, err := object()
	if err != nil {
		return nil, err
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		return nil, err
	}
	return map[string]string{"status": string(result.Status), "message": result.Message}, nil
}

// evaluateHealth: `flux EXPRESSIONS.yaml <object.json`, where the file holds a list of Flux' healthCheckExprs.
// Prints {"status"} of the first entry for the object's apiVersion and kind.
func evaluateHealth(arguments []string) (any, error) {
	if len(arguments) != 1 {
		return nil, fmt.Errorf("usage: checks flux EXPRESSIONS.yaml <object.json")
	}
	text, err := os.ReadFile(arguments[0])
	if err != nil {
		return nil, err
	}
	var checks []kustomize.CustomHealthCheck
	if err := yaml.UnmarshalStrict(text, &checks); err != nil {
		return nil, err
	}
	content, err := object()
	if err != nil {
		return nil, err
	}
	subject := &unstructured.Unstructured{Object: content}
	for _, check := range checks {
		if check.APIVersion != subject.GetAPIVersion() || check.Kind != subject.GetKind() {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, err
		}
		result, err := evaluator.Evaluate(context.Background(), subject)
		if err != nil {
			return nil, err
		}
		return map[string]string{"status": string(result.Status), "message": result.Message}, nil
	}
	return nil, fmt.Errorf("no expressions for %s %s", subject.GetAPIVersion(), subject.GetKind())
}

// runLua: `lua SCRIPT.lua <object.json`, with the libraries that Argo CD opens. Prints the table that it returns.
func runLua(arguments []string) (any, error) {
	if len(arguments) != 1 {
		return nil, fmt.Errorf("usage: checks lua SCRIPT.lua <object.json")
	}
	script, err := os.ReadFile(arguments[0])
	if err != nil {
		return nil, err
	}
	content, err := object()
	if err != nil {
		return nil, err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName:   lua.OpenPackage,
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
		lua.MathLibName:   lua.OpenMath,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	state.SetGlobal("obj", toLua(state, content))
	if err := state.DoString(string(script)); err != nil {
		return nil, err
	}
	return fromLua(state.Get(-1)), nil
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case string:
		return lua.LString(value)
	case float64:
		return lua.LNumber(value)
	case json.Number:
		number, _ := value.Float64()
		return lua.LNumber(number)
	case bool:
		return lua.LBool(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

func fromLua(value lua.LValue) any {
	switch value := value.(type) {
	case lua.LString:
		return string(value)
	case lua.LNumber:
		return float64(value)
	case lua.LBool:
		return bool(value)
	case *lua.LTable:
		if length := value.Len(); length > 0 {
			list := make([]any, 0, length)
			for index := 1; index <= length; index++ {
				list = append(list, fromLua(value.RawGetInt(index)))
			}
			return list
		}
		table := map[string]any{}
		value.ForEach(func(key, item lua.LValue) { table[key.String()] = fromLua(item) })
		return table
	default:
		return nil
	}
}
