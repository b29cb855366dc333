"""The keys of a chat, besides those of every line editor."""

from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys


def chat_keys() -> KeyBindings:
    """Enter sends, Alt-Enter starts a new line, Ctrl-C clears the line, or leaves if it is empty."""
    keys = KeyBindings()

    # While a line is printed above the prompt, the terminal turns Enter into Ctrl-J and Ctrl-C into a signal.
    @keys.add("enter")
    @keys.add("c-j")
    def _(event: KeyPressEvent) -> None:
        if _is_pasted(list(event.key_processor.input_queue)):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("escape", "c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys


def _is_pasted(following: list[KeyPress]) -> bool:
    """Whether more text is already waiting after this Enter: nobody types that fast, so it is an unmarked paste."""
    return bool(following) and not isinstance(following[0].key, Keys) and len(following[0].key) == 1
