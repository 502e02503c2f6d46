"""Completion in PowerShell, which click does not know."""

from __future__ import annotations

import os
from typing import Any, Final

from click.shell_completion import ShellComplete

PLAIN: Final = "-plain"
"""At the end of a shell's name: without descriptions."""

_POWERSHELL: Final = """\
# PowerShell 5 or newer. What the program prints is a line for each completion: type, value and description, with tabs
# between them. Without any, PowerShell completes the names of files.
Register-ArgumentCompleter -Native -CommandName '%(prog_name)s' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = foreach ($element in $commandAst.CommandElements) {
        if ($element.Extent.StartOffset -ge $cursorPosition) { break }
        if ($element -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $element.Value }
        else { $element.Extent.Text }
    }
    $before = @{}
    foreach ($name in '%(complete_var)s', 'COMP_WORDS', 'COMP_CWORD') {
        $before[$name] = [Environment]::GetEnvironmentVariable($name)
    }
    try {
        $env:%(complete_var)s = 'powershell_complete'
        $env:COMP_WORDS = @($words) -join "`n"
        $env:COMP_CWORD = $wordToComplete
        $lines = @(& '%(prog_name)s')
    }
    finally {
        foreach ($name in $before.Keys) { [Environment]::SetEnvironmentVariable($name, $before[$name]) }
    }
    foreach ($line in $lines) {
        $type, $value, $description = $line -split "`t", 3
        if ($type -eq 'plain') {
            $text = $value
            if ($value -match '[^a-zA-Z0-9_./:=@,+-]') { $text = "'" + ($value -replace "'", "''") + "'" }
            [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $description)
        }
    }
}
"""


class PowerShellComplete(ShellComplete):
    """Answers the script, and prints it."""

    name = "powershell"
    source_template = _POWERSHELL

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words after the program's name that are complete, and the one that is not."""
        words = os.environ.get("COMP_WORDS", "").split("\n")[1:]
        # PowerShell has no empty variables: one that is set to nothing is gone.
        incomplete = os.environ.get("COMP_CWORD", "")
        return words[:-1] if incomplete and words else words, incomplete

    def format_completion(self, item: Any) -> str:
        """Return the line for one completion; its description may not be empty."""
        return f"{item.type}\t{item.value}\t{self.description(item)}"

    def description(self, item: Any) -> str:
        """Return what is shown beside a completion."""
        return " ".join((item.help or item.value or "_").split())


class PlainPowerShellComplete(PowerShellComplete):
    """The same without descriptions."""

    name = f"powershell{PLAIN}"
    source_template = _POWERSHELL.replace("'powershell_complete'", f"'{name}_complete'")

    def description(self, item: Any) -> str:
        """Return the completion itself, because there must be something."""
        return item.value or "_"
