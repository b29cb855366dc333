/** What is seen of groups besides their lines in the list: a chunk of its own. */
import { panel } from "../model.ts";
import { About } from "./about.tsx";
import { AddPeople } from "./add.tsx";
import { CloseGroup, ForgetGroup, LeaveGroup, RemoveMember } from "./ask.tsx";
import { CopiesOf } from "./copies.tsx";
import { InviteByLink, JoinGroup } from "./link.tsx";
import { Member } from "./member.tsx";
import { NewGroup } from "./new.tsx";

export { GroupConversation } from "./conversation.tsx";

/** What lies over the conversations at the moment, if it is about a group. */
export function GroupPanels() {
  const now = panel.value;
  switch (now?.at) {
    case "group-new":
      return <NewGroup />;
    case "group-join":
      return <JoinGroup key={now.link} link={now.link} />;
    case "group":
      return <About group={now.group} />;
    case "group-add":
      return <AddPeople group={now.group} />;
    case "group-link":
      return <InviteByLink group={now.group} />;
    case "group-leave":
      return <LeaveGroup group={now.group} />;
    case "group-close":
      return <CloseGroup group={now.group} />;
    case "group-forget":
      return <ForgetGroup group={now.group} />;
    case "group-member":
      return <Member group={now.group} person={now.person} />;
    case "group-remove":
      return <RemoveMember group={now.group} person={now.person} />;
    case "group-copies":
      return <CopiesOf group={now.group} id={now.id} />;
    default:
      return null;
  }
}
