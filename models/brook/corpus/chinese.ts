// The same in simple Chinese: stories and questions about a passage.

import type { Random } from './random.js'
import { assistant, fill, filled, type Sample, type Split, user } from './sample.js'

const characters = (text: string): string[] => [...text]
const words = (text: string): string[] => text.split(' ')

export const chineseNames = characters('明红华丽军芳强静龙雪花月星云雨林山海天文').flatMap((last) =>
  ['小', '阿', '大'].map((first) => first + last),
)
const colours = words('红色 蓝色 绿色 黄色 白色 黑色')
const things = words('风筝 皮球 小船 铃铛 帽子 书包 雨伞 灯笼 笛子 毛毯')
const animals = words('猫 狗 兔子 狐狸 熊 鸭子 马 羊 松鼠 乌龟')
const places = words('花园 森林 公园 村子 海边 市场 河边 山上 学校 湖边')
const foods = words('苹果 面包 米饭 蛋糕 面条 葡萄 饺子 汤')
const cities = words('北京 上海 广州 成都 西安 南京 杭州 青岛')
const jobs = words('老师 医生 厨师 农民 歌手 画家 司机 护士')

const openings = ['从前，有一只{kind}，名叫{hero}。', '从前有只{kind}叫{hero}，住在{place}。']
const habits = ['{hero}有一个{thing}，天天带着它。', '{hero}最喜欢自己的{thing}。']
const troubles = [
  ['有一天，{thing}不见了。', '{hero}到处找，可是找不到，急得哭了。'],
  ['有一天，{thing}坏了。', '{hero}修了很久，也修不好。'],
  ['有一天，{thing}掉进了水里。', '{hero}够不着，不知道怎么办。'],
]
const helps = [
  '这时{friend}走过来说：“别着急，我来帮你。”他们一起想办法，终于好了。',
  '好朋友{friend}听见了，说：“我们一起来吧。”不一会儿，{thing}又回到了{hero}手里。',
]
const ends = ['{hero}和{friend}高兴地回家了。', '从此，{hero}和{friend}成了最好的朋友。']

const cast = (random: Random) => {
  const [hero = '', friend = ''] = random.some(chineseNames, 2)
  const thing = random.pick(colours) + random.pick(things)
  const values = { hero, friend, thing, kind: random.pick(animals), place: random.pick(places) }
  return { values, pair: thing }
}

export function chineseStory(random: Random, split: Split): Sample {
  const values = filled(random, split, cast)
  const [trouble = '', feeling = ''] = random.pick(troubles)
  const beats = [openings, habits, [trouble], [feeling], helps, ends]
  const text = beats.map((beat) => fill(random.pick(beat), values)).join('')
  const facts = { names: [values.hero, values.friend], thing: values.thing }
  if (random.chance(0.4)) return { task: 'story', language: 'zh', turns: [], text, facts }
  const request = fill('讲一个{hero}和{thing}的故事。', values)
  return { task: 'story', language: 'zh', turns: [user(request), assistant(text)], facts }
}

const relations = [
  {
    values: cities,
    says: '{name}住在{value}。',
    asks: '{name}住在哪里？',
    whose: '谁住在{value}？',
  },
  { values: jobs, says: '{name}是{value}。', asks: '{name}做什么工作？', whose: '谁是{value}？' },
  {
    values: foods,
    says: '{name}爱吃{value}。',
    asks: '{name}爱吃什么？',
    whose: '谁爱吃{value}？',
  },
  {
    values: animals,
    says: '{name}养了一只{value}。',
    asks: '{name}养了什么？',
    whose: '谁养了{value}？',
  },
]

const factFilling = (random: Random) => {
  const kind = random.integer(0, relations.length - 1)
  const name = random.pick(chineseNames)
  const value = random.pick(relations[kind]?.values ?? [])
  return { values: { kind, name, value }, pair: `${name} ${value}` }
}

export function chinesePassage(random: Random, split: Split): Sample {
  const asked = filled(random, split, factFilling)
  const facts = [asked]
  const length = random.integer(2, split === 'train' ? 10 : 6)
  while (facts.length < length) {
    const fact = filled(random, 'train', factFilling)
    const differs = facts.every(
      (other) =>
        other.kind !== fact.kind || (other.name !== fact.name && other.value !== fact.value),
    )
    if (differs) facts.push(fact)
  }
  const told = (fact: (typeof facts)[0]): string => fill(relations[fact.kind]?.says ?? '', fact)
  const passage = random.shuffled(facts).map(told).join('')
  const questionOf = (fact: (typeof facts)[0]): string => {
    const relation = relations[fact.kind]
    return fill((random.chance(0.7) ? relation?.asks : relation?.whose) ?? '', fact)
  }
  // The one judged is always the last; in training others come before it.
  const others = facts.slice(1)
  const before = split === 'train' ? random.some(others, random.integer(0, others.length)) : []
  const turns = [...before, asked].flatMap((fact, i) => [
    user(i === 0 ? `${passage}\n\n${questionOf(fact)}` : questionOf(fact)),
    assistant(told(fact)),
  ])
  return { task: 'passage', language: 'zh', turns }
}
