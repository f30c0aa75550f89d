package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/recipes"
	"github.com/gojet/gojet/recipes/schema"
)

func newRecipes() *cobra.Command {
	c := &cobra.Command{
		Use:   "recipes",
		Short: "List, show, copy and check recipes, which say what a run is",
		Long: `List, show, copy and check recipes, which say what a run is: models, data, stages.

A recipe is one of those in the binary, by its name, or a YAML file. key=value after it changes it: stages go by
name or number, lists are written a,b or [a,b].`,
		Example: `  gojet recipes ls
  gojet recipes copy distill-stage1 mine.yaml
  gojet recipes validate mine.yaml stages.align.steps=100 models.teacher.path=models/Qwen2.5-1.5B`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRecipesLs(), newRecipesShow(), newRecipesCopy(), newRecipesValidate())
	return c
}

func newRecipesLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the recipes in the binary: stages, tokens, what each is for",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "RECIPE\tSTAGES\tTOKENS\tDESCRIPTION")
			for _, name := range recipes.Names() {
				text, err := recipes.Text(name)
				if err != nil {
					return err
				}
				r, err := recipes.Parse(name, text)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", name, len(r.Stages), count(r.Tokens()), r.Description)
			}
			return w.Flush()
		},
	}
}

// count writes a number in thousands, millions or billions.
func count(n int64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "B"}, {1e6, "M"}, {1e3, "K"}} {
		if x := float64(n) / u.size; x >= 1 {
			return fmt.Sprintf("%.3g %s", x, u.name)
		}
	}
	return fmt.Sprint(n)
}

func newRecipesShow() *cobra.Command {
	var resolved bool
	c := &cobra.Command{
		Use:   "show RECIPE [key=value ...]",
		Short: "Print a recipe as it is written, or with every default filled in",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !resolved {
				if len(args) > 1 {
					return errors.New("key=value goes with --resolved")
				}
				text, err := recipes.Text(args[0])
				if err != nil {
					return err
				}
				_, err = c.OutOrStdout().Write(text)
				return err
			}
			r, err := recipes.Load(args[0], args[1:]...)
			if err != nil {
				return err
			}
			text, err := r.Resolved()
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(text)
			return err
		},
	}
	c.Flags().BoolVar(&resolved, "resolved", false, "print the whole recipe with its defaults and key=value")
	return c
}

func newRecipesCopy() *cobra.Command {
	return &cobra.Command{
		Use:   "copy RECIPE FILE",
		Short: "Write a recipe to a new file, to change it there",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := recipes.Text(args[0])
			if err != nil {
				return err
			}
			f, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s exists, want the name of a new file", args[1])
			}
			if err != nil {
				return err
			}
			_, err = f.Write(text)
			if err = errors.Join(err, f.Close()); err != nil {
				return errors.Join(err, os.Remove(args[1]))
			}
			return nil
		},
	}
}

func newRecipesValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate RECIPE [key=value ...]",
		Short: "Check a recipe: its keys and values, the files it names, and that its models fit",
		Long: `Check a recipe: its keys and values, the files it names, and that its models fit them and each other.

Nothing is loaded or written. Several problems are listed one a line; the command then fails with their number.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := recipes.Load(args[0], args[1:]...)
			if err == nil {
				err = r.Validate()
			}
			if err != nil {
				return list(c.OutOrStdout(), args[0], err)
			}
			hash, err := r.Hash()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s tokens in %d stages (%s), hash %s\n", args[0], count(r.Tokens()), len(r.Stages), stageNames(r), hash[:16])
			return err
		},
	}
}

func stageNames(r *recipes.Recipe) string {
	var names []string
	for _, s := range r.Stages {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// list prints several problems one a line, and returns their number as the error. A single one is the error.
func list(out io.Writer, recipe string, err error) error {
	var ps schema.Problems
	if !errors.As(err, &ps) || len(ps) < 2 {
		return err
	}
	for _, p := range ps {
		if _, err := fmt.Fprintln(out, p.Error()); err != nil {
			return err
		}
	}
	return fmt.Errorf("recipe %s has %d problems", recipe, len(ps))
}
